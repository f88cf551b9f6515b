package telemetry

import (
	"context"
	"errors"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// spanCatalog is what the documentation says of spans.
var spanCatalog = []spanDefinition{
	{
		"`{operation} {destination}`", "PRODUCER; CLIENT when no message carries its context",
		"the caller's", "creation context of every message that carries another than this span's",
		[]attribute.Key{
			semconv.MessagingSystemKey, semconv.MessagingOperationNameKey, semconv.MessagingOperationTypeKey,
			semconv.MessagingDestinationNameKey, semconv.MessagingRabbitMQDestinationRoutingKeyKey,
			semconv.ServerAddressKey, semconv.ServerPortKey, semconv.MessagingMessageIDKey,
			semconv.MessagingBatchMessageCountKey, spanKey, semconv.MessagingKafkaMessageKeyKey, semconv.ErrorTypeKey,
		},
	},
	{
		"`create {destination}`", "PRODUCER", "the caller's", "none",
		[]attribute.Key{
			semconv.MessagingSystemKey, semconv.MessagingOperationNameKey, semconv.MessagingOperationTypeKey,
			semconv.MessagingDestinationNameKey, semconv.MessagingRabbitMQDestinationRoutingKeyKey,
			semconv.ServerAddressKey, semconv.ServerPortKey, semconv.MessagingMessageIDKey,
			spanKey, semconv.MessagingKafkaMessageKeyKey,
		},
	},
	{
		"`process {destination}`", "CONSUMER", "creation context of a single message; none for a batch", "creation context of every message",
		[]attribute.Key{
			semconv.MessagingSystemKey, semconv.MessagingOperationNameKey, semconv.MessagingOperationTypeKey,
			semconv.MessagingDestinationNameKey, semconv.MessagingRabbitMQDestinationRoutingKeyKey,
			semconv.MessagingRabbitMQMessageDeliveryTagKey, semconv.MessagingConsumerGroupNameKey,
			semconv.ServerAddressKey, semconv.ServerPortKey, semconv.MessagingMessageIDKey, semconv.MessagingBatchMessageCountKey, spanConsumer, spanAttempt,
			spanKey, semconv.MessagingKafkaMessageKeyKey, spanOutcome, spanFailureClass, semconv.ErrorTypeKey,
		},
	},
}

const secret = "secret-4711" // what must never become an attribute of a metric

// exercise uses everything that there is, with secrets wherever a message or an
// error could carry one.
func exercise(t *testing.T, l *lab) {
	t.Helper()
	w, ctx := l.worker(t), t.Context()
	boom := errors.New(secret)
	one := func() *broker.Message { return &broker.Message{ID: secret, Key: secret, Body: []byte(secret)} }

	unregister, err := w.Observe(func() Snapshot {
		s := Snapshot{
			Active: 1, Buffered: 2, Held: 3, Limit: 4,
			Received: 100, Acked: 1, Released: 2, Lost: 3, Status: StatusRunning,
		}
		for i := range NumClasses {
			s.Retried[i], s.DeadLettered[i] = 4, 5
		}
		return s
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unregister() })
	unregisterQueue, err := w.ObserveQueue(func() (broker.Stats, bool) {
		return broker.Stats{
			Ready: broker.Known[int64](6), InFlight: broker.Known[int64](7), Delayed: broker.Known[int64](8),
			OldestAge: broker.Known(9 * time.Second), DeadLetters: broker.Known[int64](10),
		}, true
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unregisterQueue() })

	d1 := delivery(one())
	d1.Ref = placed{broker.Place{RoutingKey: "eu", DeliveryTag: 3}}
	spanCtx, span := w.Process(ctx, d1)
	w.Processed(spanCtx, time.Second, "", nil)
	span.End(OutcomeAck, "", nil)
	_, span = w.ProcessBatch(ctx, []*broker.Delivery{delivery(one()), delivery(one())})
	w.Processed(spanCtx, time.Second, failure.ClassBug, boom)
	span.End(OutcomeRetry, failure.ClassBug, boom)

	w.Waits(ctx, time.Second, time.Second)
	for action := broker.Ack; action <= broker.Release; action++ {
		w.Completed(ctx, time.Second, action)
		w.SettleCall(ctx, action, time.Second, nil)
	}
	w.SettleCall(ctx, broker.Ack, time.Second, boom)
	w.ReceiveCall(ctx, time.Second, nil)
	for _, class := range failure.Classes() {
		w.Retried(class, true)
		w.Retried(class, false)
		w.DeadLettered(class, ErrorType(boom))
	}
	w.LeaseExtended(3)
	w.LeaseLost("expired")
	w.Reconnected(ErrorType(broker.ErrDisconnected))

	d, err := NewDedupe(l.config)
	if err != nil {
		t.Fatal(err)
	}
	for _, result := range []string{DedupeNew, DedupeDuplicate, DedupeInProgress, DedupeConflict, DedupeError} {
		d.Checked(ctx, result)
	}

	p := l.publisher(t, placer{&fakePublisher{}, broker.Place{RoutingKey: "eu"}})
	if err := p.Publish(ctx, "orders", one()); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(ctx, "orders", one(), one()); err != nil {
		t.Fatal(err)
	}
	if err := l.publisher(t, &fakePublisher{err: boom}).Publish(ctx, "orders", one()); err == nil {
		t.Fatal("the fake did not fail")
	}
}

// Every metric of the catalog arrives at an SDK with its name, kind, unit,
// description and exactly its attributes, and no metric arrives besides.
func TestEveryMetricArrivesAsDocumented(t *testing.T) {
	l := newLab()
	l.config.System, l.config.ConsumerGroup = "kafka", "group"
	exercise(t, l)
	all := l.collect(t)
	for _, d := range catalog {
		m, ok := all[d.name]
		if !ok {
			t.Errorf("%s did not arrive", d.name)
			continue
		}
		delete(all, d.name)
		if m.Unit != d.unit || m.Description != d.description {
			t.Errorf("%s has unit %q and description %q, want %q and %q", d.name, m.Unit, m.Description, d.unit, d.description)
		}
		if got := kindOf(m); got != d.kind {
			t.Errorf("%s is a %s, want a %s", d.name, got, d.kind)
		}
		seen := make(map[attribute.Key]bool)
		for _, p := range points(m) {
			for _, a := range p.attrs.ToSlice() {
				seen[a.Key] = true
				if strings.Contains(a.Value.String(), secret) {
					t.Errorf("%s tells %s=%s", d.name, a.Key, a.Value.String())
				}
			}
		}
		got := slices.Sorted(maps.Keys(seen))
		want := slices.Sorted(slices.Values(slices.Concat(d.shared.keys, d.more)))
		if !slices.Equal(got, want) {
			t.Errorf("%s has attributes %v, want %v", d.name, got, want)
		}
	}
	if len(all) > 0 {
		t.Errorf("not in the catalog: %v", slices.Sorted(maps.Keys(all)))
	}
}

func kindOf(m metricdata.Metrics) string {
	switch d := m.Data.(type) {
	case metricdata.Histogram[float64]:
		return kindHistogram
	case metricdata.Gauge[int64], metricdata.Gauge[float64]:
		return kindGauge
	case metricdata.Sum[int64]:
		if d.IsMonotonic {
			return kindCounter
		}
		return kindUpDown
	default:
		return "unknown kind"
	}
}

// Spans carry the attributes that the documentation lists, all of them and no
// others.
func TestEverySpanHasTheDocumentedAttributes(t *testing.T) {
	got := make(map[string]map[attribute.Key]bool)
	for _, system := range []string{"rabbitmq", "kafka"} {
		l := newLab()
		l.config.System, l.config.ConsumerGroup, l.config.RecordKey = system, "group", true
		exercise(t, l)
		for _, s := range l.spans.Ended() {
			operation, _, _ := strings.Cut(s.Name(), " ")
			switch operation {
			case "publish", "send":
				operation = "{operation}"
			}
			name := "`" + operation + " {destination}`"
			if got[name] == nil {
				got[name] = make(map[attribute.Key]bool)
			}
			for _, a := range s.Attributes() {
				got[name][a.Key] = true
			}
		}
	}
	for _, d := range spanCatalog {
		seen := slices.Sorted(maps.Keys(got[d.name]))
		if want := slices.Sorted(slices.Values(d.attributes)); !slices.Equal(seen, want) {
			t.Errorf("span %s has attributes\n%v, want\n%v", d.name, seen, want)
		}
		delete(got, d.name)
	}
	if len(got) > 0 {
		t.Errorf("not in the catalog: %v", slices.Sorted(maps.Keys(got)))
	}
}

// Official metrics have the names, units and descriptions of the conventions'
// generated code, and the schema is the version that is documented.
func TestOfficialNamesAreThoseOfTheConventions(t *testing.T) {
	type official interface{ Name() string }
	type described interface {
		official
		Unit() string
		Description() string
	}
	want := make(map[string]described)
	for _, m := range []described{
		messagingconv.ProcessDuration{},
		messagingconv.ClientOperationDuration{},
		messagingconv.ClientSentMessages{},
		messagingconv.ClientConsumedMessages{},
	} {
		want[m.Name()] = m
	}
	for _, d := range catalog {
		if !strings.HasPrefix(d.name, "messaging.") {
			if !strings.HasPrefix(d.name, "anyqueue.") {
				t.Errorf("%s is neither official nor ours", d.name)
			}
			continue
		}
		m, ok := want[d.name]
		if !ok || d.unit != m.Unit() || d.description != m.Description() {
			t.Errorf("%s (%s, %q) is not as in the conventions", d.name, d.unit, d.description)
		}
	}
	if want := "https://opentelemetry.io/schemas/" + SemconvVersion; semconv.SchemaURL != want {
		t.Errorf("schema %s, want %s", semconv.SchemaURL, want)
	}
}

// Spans and metrics name their scope and the version of their schema.
func TestTelemetryNamesItsSchema(t *testing.T) {
	l := newLab()
	exercise(t, l)
	for _, s := range l.spans.Ended() {
		if scope := s.InstrumentationScope(); scope.Name != ScopeName || scope.SchemaURL != semconv.SchemaURL {
			t.Errorf("span %q has scope %q with schema %q", s.Name(), scope.Name, scope.SchemaURL)
		}
	}
	var all metricdata.ResourceMetrics
	if err := l.reader.Collect(context.WithoutCancel(t.Context()), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		if scope.Scope.SchemaURL != semconv.SchemaURL {
			t.Errorf("metrics have schema %q", scope.Scope.SchemaURL)
		}
	}
}

// NumClasses and ClassIndex agree with the closed set of classes, so that totals
// land under the right class.
func TestClassIndexFollowsTheSetOfClasses(t *testing.T) {
	if len(failure.Classes()) != NumClasses {
		t.Fatalf("there are %d classes, NumClasses is %d", len(failure.Classes()), NumClasses)
	}
	for i, class := range failure.Classes() {
		if got := ClassIndex(class); got != i {
			t.Errorf("ClassIndex(%s) = %d, want %d", class, got, i)
		}
	}
	for _, class := range []failure.Class{"", "no such class"} {
		if got := knownClass(class); got != failure.ClassUnclassified {
			t.Errorf("class %q counts as %s", class, got)
		}
	}
}

// The library depends on the API: only tests may import the SDK.
func TestNothingButTestsImportsTheSDK(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			if strings.Contains(spec.Path.Value, "otel/sdk") {
				t.Errorf("%s imports %s", f.Name(), spec.Path.Value)
			}
		}
	}
}
