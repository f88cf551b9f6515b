package telemetry

import (
	"slices"
	"testing"

	"go.opentelemetry.io/otel/propagation"

	"github.com/anyqueue/anyqueue/broker"
)

// A carrier reads the last of a repeated name, lists names once, and leaves
// exactly one value when it writes.
func TestCarrierReadsAndWritesHeaders(t *testing.T) {
	h := broker.Headers{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}, {Name: "a", Value: "3"}}
	c := Carrier{&h}
	if c.Get("a") != "3" || c.Get("A") != "" || !slices.Equal(c.Values("a"), []string{"1", "3"}) || c.Values("x") != nil {
		t.Errorf("a = %q, values %v", c.Get("a"), c.Values("a"))
	}
	if !slices.Equal(c.Keys(), []string{"a", "b"}) {
		t.Errorf("keys %v", c.Keys())
	}
	c.Set("a", "4")
	c.Set("c", "5")
	want := broker.Headers{{Name: "a", Value: "4"}, {Name: "b", Value: "2"}, {Name: "c", Value: "5"}}
	if !slices.Equal(h, want) {
		t.Errorf("headers %v, want %v", h, want)
	}
}

// A carrier of nothing reads as empty.
func TestEmptyCarrierIsEmpty(t *testing.T) {
	for _, c := range []Carrier{{}, {new(broker.Headers)}} {
		if c.Get("a") != "" || len(c.Keys()) != 0 || len(c.Values("a")) != 0 {
			t.Errorf("%v is not empty", c)
		}
	}
}

// Whatever stands in the headers, a message is processed with a span of its own
// and its headers stay as they were; publishing it gives it exactly one valid
// context.
func FuzzHeaders(f *testing.F) {
	f.Add(parentID, "a=b", "k=v")
	f.Add(parentID[:20], "a=b,", "k=v;p;=")
	f.Add("ff"+parentID[2:], "\x00\xff", "%zz=%")
	f.Add("00-00000000000000000000000000000000-0000000000000000-00", "", "=")
	f.Fuzz(func(t *testing.T, parent, state, bag string) {
		l, next := newLab(), &fakePublisher{}
		l.config.Propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
		m := message(
			broker.Header{Name: header, Value: parent}, broker.Header{Name: "tracestate", Value: state},
			broker.Header{Name: "baggage", Value: bag}, broker.Header{Name: "baggage", Value: bag},
		)
		before := m.Headers.Clone()
		_, span := l.worker(t).Process(t.Context(), delivery(m))
		if span.TraceID() == "" {
			t.Error("no span")
		}
		span.End(OutcomeAck, "", nil)
		if err := l.publisher(t, next).Publish(t.Context(), "orders", m); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(m.Headers, before) {
			t.Errorf("headers changed to %q", m.Headers)
		}
		if got := next.got[0]; !creationOf(got).IsValid() || countHeader(got, header) != 1 {
			t.Errorf("published with %q", got.Headers)
		}
	})
}
