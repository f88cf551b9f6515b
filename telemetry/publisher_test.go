package telemetry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/anyqueue/anyqueue/broker"
)

// fakePublisher keeps what it was given.
type fakePublisher struct {
	err    error
	to     string
	got    []*broker.Message
	ctx    context.Context
	closed bool
}

func (f *fakePublisher) Publish(ctx context.Context, to string, messages ...*broker.Message) error {
	f.ctx, f.to, f.got = ctx, to, slices.Clone(messages)
	return f.err
}

func (f *fakePublisher) Close(context.Context) error { f.closed = true; return nil }

const (
	parentID = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	header   = headerTraceParent
)

// creationOf reads the creation context out of a message's headers.
func creationOf(m *broker.Message) trace.SpanContext {
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), Carrier{&m.Headers}))
}

func countHeader(m *broker.Message, name string) int {
	return len(Carrier{&m.Headers}.Values(name))
}

// A message that is published alone carries the context of the send span, which
// is a child of the caller's span.
func TestPublishedMessageCarriesTheContextOfItsSendSpan(t *testing.T) {
	l, next := newLab(), &fakePublisher{}
	ctx, request := l.config.Tracer.Tracer("app").Start(t.Context(), "request")
	m := &broker.Message{Headers: broker.Headers{{Name: "a", Value: "b"}}}
	if err := l.publisher(t, next).Publish(ctx, "orders", m); err != nil {
		t.Fatal(err)
	}
	span := l.span(t, "publish orders")
	if span.SpanKind() != trace.SpanKindProducer || span.Parent().SpanID() != request.SpanContext().SpanID() {
		t.Errorf("kind %v, parent %v", span.SpanKind(), span.Parent().SpanID())
	}
	if got := creationOf(next.got[0]); got.SpanID() != span.SpanContext().SpanID() || got.TraceID() != span.SpanContext().TraceID() {
		t.Errorf("the message carries %v, want the send span's context", got)
	}
	if trace.SpanFromContext(next.ctx).SpanContext().SpanID() != span.SpanContext().SpanID() {
		t.Error("the wrapped publisher does not run inside of the send span")
	}
	if got := spanAttr(span, "messaging.message.id"); got == "" || got != m.ID {
		t.Errorf("span has message id %q, the message %q", got, m.ID)
	}
	wantLinks(t, span)
}

// Messages that are published together get a create span each, to which the send
// span is linked.
func TestMessagesOfABatchGetACreateSpanEach(t *testing.T) {
	l, next := newLab(), &fakePublisher{}
	if err := l.publisher(t, next).Publish(t.Context(), "orders", &broker.Message{}, &broker.Message{}, &broker.Message{}); err != nil {
		t.Fatal(err)
	}
	send := l.span(t, "publish orders")
	if send.SpanKind() != trace.SpanKindClient {
		t.Errorf("the send span is %v; no message carries its context", send.SpanKind())
	}
	var want []trace.SpanContext
	for _, m := range next.got {
		want = append(want, creationOf(m))
	}
	wantLinks(t, send, want...)
	created := make(map[trace.SpanID]bool)
	for _, s := range l.spans.Ended() {
		if s.Name() == "create orders" && s.SpanKind() == trace.SpanKindProducer {
			created[s.SpanContext().SpanID()] = true
		}
	}
	for i, sc := range want {
		if !created[sc.SpanID()] {
			t.Errorf("message %d carries %v, which is no create span", i, sc.SpanID())
		}
		if id := next.got[i].ID; send.Links()[i].Attributes[0].Value.AsString() != id {
			t.Errorf("link %d does not name message %s", i, id)
		}
	}
	if len(created) != 3 {
		t.Errorf("%d create spans, want 3", len(created))
	}
}

// With NoCreateSpans all messages of a batch carry the context of the send span.
func TestWithoutCreateSpansABatchSharesTheSendSpan(t *testing.T) {
	l, next := newLab(), &fakePublisher{}
	l.config.NoCreateSpans = true
	if err := l.publisher(t, next).Publish(t.Context(), "orders", &broker.Message{}, &broker.Message{}); err != nil {
		t.Fatal(err)
	}
	send := l.span(t, "publish orders")
	if send.SpanKind() != trace.SpanKindProducer || len(l.spans.Ended()) != 1 {
		t.Errorf("%v span among %v", send.SpanKind(), names(l.spans.Ended()))
	}
	for i, m := range next.got {
		if creationOf(m).SpanID() != send.SpanContext().SpanID() {
			t.Errorf("message %d carries %v", i, creationOf(m))
		}
	}
}

// A message that carries a creation context keeps it untouched, and the send
// span is linked to it.
func TestPublishKeepsAnExistingCreationContext(t *testing.T) {
	for name, more := range map[string][]*broker.Message{"alone": nil, "among others": {{}, {}}} {
		t.Run(name, func(t *testing.T) {
			l, next := newLab(), &fakePublisher{}
			member, err := baggage.NewMember("tenant", "other")
			if err != nil {
				t.Fatal(err)
			}
			bag, err := baggage.New(member)
			if err != nil {
				t.Fatal(err)
			}
			headers := broker.Headers{{Name: header, Value: parentID}, {Name: "tracestate", Value: "a=b"}, {Name: "baggage", Value: "tenant=first"}}
			m := &broker.Message{Headers: headers.Clone()}
			ctx := baggage.ContextWithBaggage(t.Context(), bag)
			if err := l.publisher(t, next).Publish(ctx, "orders", append([]*broker.Message{m}, more...)...); err != nil {
				t.Fatal(err)
			}
			if next.got[0] != m || !slices.Equal(m.Headers, headers) {
				t.Errorf("the message was changed: %v", next.got[0].Headers)
			}
			send := l.span(t, "publish orders")
			if send.SpanKind() != trace.SpanKindClient {
				t.Errorf("the send span is %v; no message carries its context", send.SpanKind())
			}
			want := []trace.SpanContext{creationOf(m)}
			for i := range more {
				want = append(want, creationOf(next.got[1+i]))
			}
			wantLinks(t, send, want...)
		})
	}
}

// A context that is there but not valid is replaced, together with the state
// that belonged to it, and appears once.
func TestPublishReplacesAnInvalidContext(t *testing.T) {
	l, next := newLab(), &fakePublisher{}
	m := &broker.Message{Headers: broker.Headers{
		{Name: header, Value: "garbage"}, {Name: "tracestate", Value: "stale=1"}, {Name: header, Value: "00-00-00-00"},
	}}
	if err := l.publisher(t, next).Publish(t.Context(), "orders", m); err != nil {
		t.Fatal(err)
	}
	got := next.got[0]
	if creationOf(got).SpanID() != l.span(t, "publish orders").SpanContext().SpanID() || len(got.Headers) != 1 {
		t.Errorf("headers are %v", got.Headers)
	}
}

// Without an SDK a context that came from elsewhere is passed on, and nothing is
// invented.
func TestWithTracingOffAContextIsPassedOn(t *testing.T) {
	for _, from := range []string{parentID, ""} {
		l, next := newLab(), &fakePublisher{}
		l.config.Tracer = noop.NewTracerProvider()
		ctx := propagation.TraceContext{}.Extract(t.Context(), propagation.MapCarrier{header: from})
		p := l.publisher(t, next)
		for range 3 { // before and after it found out
			for _, n := range []int{1, 2} {
				messages := make([]*broker.Message, n)
				for i := range messages {
					messages[i] = &broker.Message{}
				}
				if err := p.Publish(ctx, "orders", messages...); err != nil {
					t.Fatal(err)
				}
				for _, m := range next.got {
					if got := m.Headers.Get(header); got != from {
						t.Errorf("the message carries %q, want %q", got, from)
					}
				}
			}
		}
	}
}

// Without an SDK, too, a message keeps the creation context that it carries.
func TestWithTracingOffAnExistingContextIsKept(t *testing.T) {
	l, next := newLab(), &fakePublisher{}
	l.config.Tracer = noop.NewTracerProvider()
	elsewhere := strings.Replace(parentID, "b7ad", "c8be", 1)
	ctx := propagation.TraceContext{}.Extract(t.Context(), propagation.MapCarrier{header: elsewhere})
	p := l.publisher(t, next)
	for range 3 {
		m := message(carried)
		if err := p.Publish(ctx, "orders", m, message()); err != nil {
			t.Fatal(err)
		}
		if next.got[0] != m || m.Headers.Get(header) != parentID || next.got[1].Headers.Get(header) != elsewhere {
			t.Errorf("published with %v and %v", next.got[0].Headers, next.got[1].Headers)
		}
	}
}

// The caller's messages and their headers' arrays are never written to, the
// publisher below gets the same messages in the same order with at most one
// context each, and every message is counted once.
func TestPublishLeavesTheCallersMessagesAlone(t *testing.T) {
	const seeds = 2000
	boom := errors.New("boom")
	for seed := range uint64(seeds) {
		r := rand.New(rand.NewPCG(seed, 1))
		l := newLab()
		if r.IntN(4) == 0 {
			l.config.Tracer = noop.NewTracerProvider()
		}
		l.config.NoCreateSpans = r.IntN(2) == 0
		n := 1 + r.IntN(5)
		messages, before := make([]*broker.Message, n), make([]broker.Headers, n)
		for i := range messages {
			h := make(broker.Headers, 0, 8) // room that an append would write into
			for range r.IntN(4) {
				switch r.IntN(4) {
				case 0:
					h.Add(header, parentID)
				case 1:
					h.Add(header, "broken")
				case 2:
					h.Add("tracestate", "a=b")
				default:
					h.Add("x", fmt.Sprint(i))
				}
			}
			messages[i], before[i] = &broker.Message{Headers: h, Body: []byte{byte(i)}}, h[:cap(h)].Clone()
		}
		next := &fakePublisher{}
		failed := 0
		switch r.IntN(3) {
		case 0:
			next.err, failed = boom, n
		case 1:
			failed = 1 + r.IntN(n)
			partial := &broker.PublishError{}
			for i := range failed {
				partial.Failed = append(partial.Failed, broker.Failed{Index: i, Err: boom})
			}
			next.err = fmt.Errorf("adapter: %w", partial)
		}
		input := slices.Clone(messages)
		if err := l.publisher(t, next).Publish(t.Context(), "orders", input...); !errors.Is(err, next.err) {
			t.Fatalf("seed %d: error %v, want %v", seed, err, next.err)
		}
		if !slices.Equal(input, messages) || len(next.got) != n {
			t.Fatalf("seed %d: the caller's slice was changed, or %d of %d messages were passed on", seed, len(next.got), n)
		}
		for i, m := range messages {
			got := next.got[i]
			if !slices.Equal(m.Headers[:cap(m.Headers)], before[i]) {
				t.Fatalf("seed %d: headers of message %d were written to: %v", seed, i, m.Headers)
			}
			if m.ID == "" || got.ID != m.ID || !got.PublishedAt.Equal(m.PublishedAt) || got.Body[0] != byte(i) {
				t.Fatalf("seed %d: message %d became another one", seed, i)
			}
			if was := creationOf(m); was.IsValid() && !creationOf(got).Equal(was) {
				t.Fatalf("seed %d: the context of message %d was replaced", seed, i)
			}
			if added := countHeader(got, header) - countHeader(m, header); added > 1 || added == 1 && countHeader(m, header) > 0 {
				t.Fatalf("seed %d: contexts pile up: %v", seed, got.Headers)
			}
		}
		all := l.collect(t)
		good := total(all, MetricSent) - total(all, MetricSent, "error.type", "*errors.errorString")
		if good != float64(n-failed) || total(all, MetricSent) != float64(n) {
			t.Fatalf("seed %d: counted %v of %d messages, %v good, want %d", seed, total(all, MetricSent), n, good, n-failed)
		}
	}
}

// A failed Publish makes its span an error with a type, and its duration carries
// the type as well.
func TestFailedPublishIsAnErrorOfItsType(t *testing.T) {
	l := newLab()
	next := &fakePublisher{err: &broker.PublishError{Failed: []broker.Failed{{Index: 1, Err: fmt.Errorf("queue %q: %w", "q", broker.ErrFull)}}}}
	if err := l.publisher(t, next).Publish(t.Context(), "orders", &broker.Message{}, &broker.Message{}); err == nil {
		t.Fatal("the error was swallowed")
	}
	span := l.span(t, "publish orders")
	if span.Status().Code != codes.Error || !strings.Contains(span.Status().Description, "1 failed") || spanAttr(span, "error.type") != "full" {
		t.Errorf("status %v, error.type %q", span.Status(), spanAttr(span, "error.type"))
	}
	all := l.collect(t)
	wantValue(t, all, MetricSent, 1, "error.type", "full")
	if found := find(all, MetricOperationDuration, "error.type", "full", "messaging.operation.type", "send"); len(found) != 1 || found[0].count != 1 {
		t.Errorf("durations: %v", find(all, MetricOperationDuration))
	}
}

// What the publisher below must refuse reaches it: no message, a nil message.
func TestPublishPassesOddInputThrough(t *testing.T) {
	l, next := newLab(), &fakePublisher{}
	p := l.publisher(t, next)
	for _, messages := range [][]*broker.Message{nil, {nil}, {nil, {}, nil}} {
		if err := p.Publish(t.Context(), "orders", messages...); err != nil || len(next.got) != len(messages) {
			t.Errorf("Publish(%v) passed on %v, %v", messages, next.got, err)
		}
	}
	if err := p.Close(t.Context()); err != nil || !next.closed {
		t.Errorf("Close did not reach the publisher: %v", err)
	}
	if _, err := WrapPublisher(nil, l.config); !errors.Is(err, broker.ErrInvalid) {
		t.Errorf("WrapPublisher(nil) = %v", err)
	}
}

// Destinations beyond the limit are counted, without a name, so that the metric
// stays bounded.
func TestSentMessagesToManyDestinationsStayBounded(t *testing.T) {
	l := newLab()
	p := l.publisher(t, &fakePublisher{})
	const n = 3 * limitDestinations
	for i := range n {
		if err := p.Publish(t.Context(), fmt.Sprintf("reply-%d", i), &broker.Message{}); err != nil {
			t.Fatal(err)
		}
	}
	all := l.collect(t)
	if series := len(find(all, MetricSent)); series > limitDestinations+1 || total(all, MetricSent) != n {
		t.Errorf("%d series count %v messages, want at most %d and %d", series, total(all, MetricSent), limitDestinations+1, n)
	}
}
