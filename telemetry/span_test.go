package telemetry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

func message(headers ...broker.Header) *broker.Message {
	return &broker.Message{ID: "m-1", Key: "customer-7", Headers: headers}
}

var carried = broker.Header{Name: header, Value: parentID}

// The process span of a single message is linked to the creation context and is
// its child; the handler's context carries it, and the baggage of the message.
func TestProcessSpanContinuesTheTraceOfItsMessage(t *testing.T) {
	l := newLab()
	d := delivery(message(carried, broker.Header{Name: "baggage", Value: "tenant=a"}))
	ctx, span := l.worker(t).Process(t.Context(), d)
	if trace.SpanFromContext(ctx) != span.span {
		t.Error("the handler's context does not carry the span")
	}
	if got := baggage.FromContext(ctx).Member("tenant").Value(); got != "a" {
		t.Errorf("baggage tenant = %q", got)
	}
	span.End(OutcomeAck, "", nil)
	s := l.span(t, "process orders")
	creation := creationOf(d.Message)
	if s.SpanKind() != trace.SpanKindConsumer || s.Parent().SpanID() != creation.SpanID() || !s.Parent().IsRemote() {
		t.Errorf("%v span with parent %v", s.SpanKind(), s.Parent())
	}
	wantLinks(t, s, creation)
	if span.TraceID() != creation.TraceID().String() {
		t.Errorf("trace id %s", span.TraceID())
	}
	if s.Status().Code != codes.Unset || spanAttr(s, "error.type") != "" || spanAttr(s, "anyqueue.outcome") != "ack" {
		t.Errorf("status %v, attributes %v", s.Status(), s.Attributes())
	}
}

// With LinkOnly the span starts a trace of its own, linked to the creation
// context.
func TestLinkOnlyStartsATraceOfItsOwn(t *testing.T) {
	l := newLab()
	l.config.LinkOnly = true
	d := delivery(message(carried))
	_, span := l.worker(t).Process(t.Context(), d)
	span.End(OutcomeAck, "", nil)
	s := l.span(t, "process orders")
	if s.Parent().IsValid() || s.SpanContext().TraceID() == creationOf(d.Message).TraceID() {
		t.Errorf("parent %v", s.Parent())
	}
	wantLinks(t, s, creationOf(d.Message))
}

// A message without a creation context starts a trace, and is no child of the
// span in which the consumer was started: that would collect every message.
func TestMessageWithoutContextStartsATrace(t *testing.T) {
	for _, headers := range [][]broker.Header{nil, {{Name: header, Value: "broken"}}} {
		l := newLab()
		ctx, started := l.config.Tracer.Tracer("app").Start(t.Context(), "main")
		_, span := l.worker(t).Process(ctx, delivery(message(headers...)))
		span.End(OutcomeAck, "", nil)
		s := l.span(t, "process orders")
		if s.Parent().IsValid() || s.SpanContext().TraceID() == started.SpanContext().TraceID() {
			t.Errorf("parent %v", s.Parent())
		}
		wantLinks(t, s)
	}
}

// The span of a batch is linked to the creation context of every message that
// has one, names the message at the link, and is never a child.
func TestBatchSpanIsLinkedNeverAChild(t *testing.T) {
	other := broker.Header{Name: header, Value: strings.Replace(parentID, "b7ad", "c8be", 1)}
	for _, batch := range [][]*broker.Delivery{
		{delivery(message(carried)), delivery(message()), delivery(message(other))},
		{delivery(message(carried))},
	} {
		l := newLab()
		started, _ := l.config.Tracer.Tracer("app").Start(t.Context(), "main")
		ctx, span := l.worker(t).ProcessBatch(started, batch)
		if trace.SpanFromContext(ctx) != span.span {
			t.Error("the handler's context does not carry the span")
		}
		span.End(OutcomeAck, "", nil)
		s := l.span(t, "process orders")
		if s.Parent().IsValid() || s.SpanKind() != trace.SpanKindConsumer {
			t.Errorf("%v span with parent %v", s.SpanKind(), s.Parent())
		}
		var want []trace.SpanContext
		for _, d := range batch {
			if creation := creationOf(d.Message); creation.IsValid() {
				want = append(want, creation)
			}
		}
		wantLinks(t, s, want...)
		if id := s.Links()[0].Attributes; len(id) != 1 || id[0].Value.AsString() != "m-1" {
			t.Errorf("link has attributes %v", id)
		}
		if got := spanAttr(s, "messaging.batch.message_count"); got != fmt.Sprint(len(batch)) {
			t.Errorf("batch of %s", got)
		}
	}
}

// From the request to the last attempt: each attempt has a span of its own that
// is linked to the one creation context. Retries, the dead letter and a redrive
// carry that context, once, unchanged. Nothing is lost, nothing piles up.
func TestTraceContextIsNeitherLostNorPiledUp(t *testing.T) {
	l, queue := newLab(), &fakePublisher{}
	p, w := l.publisher(t, queue), l.worker(t)
	ctx, request := l.config.Tracer.Tracer("app").Start(t.Context(), "request")
	if err := p.Publish(ctx, "orders", message(broker.Header{Name: "x", Value: "y"})); err != nil {
		t.Fatal(err)
	}
	published := queue.got[0]
	headers := published.Headers.Clone()
	creation := creationOf(published)

	attempt := func(n int, m *broker.Message) {
		d := delivery(m)
		d.Attempt = n
		_, span := w.Process(t.Context(), d)
		if n < 4 {
			span.End(OutcomeRetry, failure.ClassDependency, errors.New("down"))
		} else {
			span.End(OutcomeDeadLetter, failure.ClassDependency, errors.New("down"))
		}
	}
	for n := 1; n <= 4; n++ {
		attempt(n, published.Clone()) // through the broker and back
	}
	dead := published.Clone()
	for range 3 { // redriven, failed, redriven again
		if err := p.Publish(t.Context(), "orders", dead); err != nil {
			t.Fatal(err)
		}
		dead = queue.got[0].Clone()
		if !slices.Equal(dead.Headers, headers) {
			t.Fatalf("a redrive changed the headers to %v, want %v", dead.Headers, headers)
		}
		attempt(1, dead)
	}

	seen := make(map[trace.SpanID]bool)
	processed, sent := 0, 0
	for _, s := range l.spans.Ended() {
		seen[s.SpanContext().SpanID()] = true
		switch s.Name() {
		case "process orders":
			processed++
			wantLinks(t, s, creation)
			if s.SpanContext().TraceID() != request.SpanContext().TraceID() {
				t.Errorf("attempt %d left the trace", processed)
			}
		case "publish orders":
			if sent++; sent > 1 {
				wantLinks(t, s, creation)
			}
		}
	}
	if processed != 7 || sent != 4 || len(seen) != len(l.spans.Ended()) {
		t.Errorf("%d attempts, %d publishes, %d spans of which %d differ", processed, sent, len(l.spans.Ended()), len(seen))
	}
}

// A failed attempt is an error with a type; what was dropped or released on
// purpose is not. Neither a stack nor a long text reaches the span.
func TestEndTellsFailureFromPurpose(t *testing.T) {
	boom := errors.New("boom\ngoroutine 1 [running]:\nmain.main()")
	for _, c := range []struct {
		outcome   string
		class     failure.Class
		err       error
		code      codes.Code
		errorType string
	}{
		{OutcomeAck, "", nil, codes.Unset, ""},
		{OutcomeDrop, "", errors.New("obsolete"), codes.Unset, ""},
		{OutcomeRelease, "", errors.New("busy"), codes.Unset, ""},
		{OutcomeRetry, failure.ClassBug, boom, codes.Error, "*errors.errorString"},
		{OutcomeDeadLetter, failure.ClassTimeout, nil, codes.Error, "timeout"},
		{OutcomeLost, "", broker.ErrLeaseLost, codes.Error, "lease_lost"},
		{OutcomeRelease, failure.ClassResource, boom, codes.Error, "*errors.errorString"},
		{OutcomeRetry, failure.ClassBug, errors.New(strings.Repeat("é", 1000)), codes.Error, "*errors.errorString"},
	} {
		l := newLab()
		_, span := l.worker(t).Process(t.Context(), delivery(message()))
		span.End(c.outcome, c.class, c.err)
		s := l.span(t, "process orders")
		if s.Status().Code != c.code || spanAttr(s, "error.type") != c.errorType {
			t.Errorf("End(%s, %s, %v): status %v, error.type %q", c.outcome, c.class, c.err, s.Status(), spanAttr(s, "error.type"))
		}
		if spanAttr(s, "anyqueue.outcome") != c.outcome || spanAttr(s, "anyqueue.failure.class") != string(c.class) {
			t.Errorf("End(%s, %s): attributes %v", c.outcome, c.class, s.Attributes())
		}
		if text := s.Status().Description; strings.Contains(text, "goroutine") || len(text) > maxDescription {
			t.Errorf("description %q", text)
		}
		if len(s.Events()) != 0 {
			t.Errorf("events %v", s.Events())
		}
	}
}

// Attributes that samplers need are there when the span starts. The key is
// recorded only where that was asked for.
func TestProcessSpanHasItsAttributesAtTheStart(t *testing.T) {
	for _, record := range []bool{false, true} {
		l := newLab()
		l.config.RecordKey = record
		var seen sdktrace.SamplingParameters
		l.config.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSampler(samplerFunc(func(p sdktrace.SamplingParameters) { seen = p })))
		d := delivery(message(carried))
		d.Attempt = 3
		_, span := l.worker(t).Process(t.Context(), d)
		span.End(OutcomeAck, "", nil)
		got := make(map[string]string)
		for _, a := range seen.Attributes {
			got[string(a.Key)] = a.Value.String()
		}
		want := map[string]string{
			"messaging.system": "rabbitmq", "messaging.operation.name": "process", "messaging.operation.type": "process",
			"messaging.destination.name": "orders", "messaging.message.id": "m-1", "server.address": "mq.example", "server.port": "5672",
			"anyqueue.consumer": "billing", "anyqueue.message.attempt": "3",
		}
		if record {
			want["anyqueue.message.key"] = "customer-7"
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("attributes %v, want %v", got, want)
		}
		if len(seen.Links) != 1 {
			t.Errorf("%d links at the start", len(seen.Links))
		}
	}
}

type samplerFunc func(sdktrace.SamplingParameters)

func (f samplerFunc) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	f(p)
	return sdktrace.SamplingResult{Decision: sdktrace.Drop}
}
func (samplerFunc) Description() string { return "test" }

// A worker that was not told its destination names the delivery's source.
func TestSpanNamesTheSourceWhereNoDestinationIsSet(t *testing.T) {
	l := newLab()
	l.config.Destination = ""
	w := l.worker(t)
	_, span := w.Process(t.Context(), delivery(message()))
	span.End(OutcomeAck, "", nil)
	if s := l.span(t, "process orders"); spanAttr(s, "messaging.destination.name") != "orders" {
		t.Errorf("attributes %v", s.Attributes())
	}
	l.spans = tracetest.NewSpanRecorder()
	l.config.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(l.spans))
	_, span = l.worker(t).ProcessBatch(t.Context(), []*broker.Delivery{delivery(message())})
	span.End(OutcomeAck, "", nil)
	l.span(t, "process orders")
}
