package rabbit

import (
	"testing"

	"github.com/anyqueue/anyqueue/broker"
)

// The window begins with what the handlers can run, doubles while the runtime
// asks for more than it lets through, and never exceeds its bound.
func TestWindowGrowsOnlyOnDemand(t *testing.T) {
	w := newWindow(0, broker.Intent{Concurrency: 10, MaxInFlight: 160})
	if w.open() != 10 {
		t.Fatalf("begins with %d, want what 10 handlers can run", w.open())
	}
	if w.grow(9) {
		t.Errorf("grew although the broker may still push")
	}
	var sizes []int
	for range 20 {
		if w.grow(w.size) {
			sizes = append(sizes, w.size)
		}
	}
	if last := sizes[len(sizes)-1]; len(sizes) != 5 || last != 320 {
		t.Errorf("grew to %v, want doubled up to twice MaxInFlight, 320", sizes)
	}
}

// After messages were given back unasked the next consumer begins small, and only
// when somebody asks.
func TestWindowShrinksWhenNobodyAsks(t *testing.T) {
	w := newWindow(0, broker.Intent{Concurrency: 4, MaxInFlight: 64})
	for w.grow(w.size) {
	}
	w.park()
	if !w.wants(0) || !w.grow(0) {
		t.Fatalf("a parked consumer is not started when somebody asks")
	}
	if n := w.open(); n != 4 || w.parked {
		t.Errorf("starts again with %d (parked %v), want 4", n, w.parked)
	}
}

// A configured prefetch stays.
func TestFixedWindowStays(t *testing.T) {
	w := newWindow(50, broker.Intent{Concurrency: 4, MaxInFlight: 640})
	if w.grow(50) || w.open() != 50 {
		t.Errorf("a fixed window of 50 became %d", w.open())
	}
}

// The bounds hold for any consumer: AMQP takes 0 for no limit at all.
func TestWindowIsNeverUnbounded(t *testing.T) {
	for _, in := range []broker.Intent{{}, {Concurrency: -1}, {Concurrency: 1 << 20, MaxInFlight: 1 << 30}} {
		w := newWindow(0, in)
		for w.grow(w.size) {
		}
		if w.low < 1 || w.size < 1 || w.size > mostHigh || w.open() > 65535 {
			t.Errorf("intent %+v: window from %d to %d", in, w.low, w.size)
		}
	}
}
