package rabbit

import (
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// There is no consumer until somebody asks, and it is given what he asks for.
func TestWindowIsWhatIsAskedFor(t *testing.T) {
	w := newWindow(0, broker.Intent{Concurrency: 10, MaxInFlight: 160})
	now := time.Now()
	if !w.wants(0, 12) || !w.grow(0, 0, 12, now) || w.prefetch() != 12 {
		t.Fatalf("the first who asks for 12 is given %d", w.prefetch())
	}
	if w.wants(11, 1) {
		t.Errorf("wants another consumer although this one may be pushed one more")
	}
}

// A slow worker is never pushed more than it asks for, however often it asks.
func TestWindowOfASlowWorkerDoesNotGrow(t *testing.T) {
	w := newWindow(0, broker.Intent{Concurrency: 10, MaxInFlight: 160})
	now := time.Now()
	w.grow(0, 0, 10, now)
	for range 50 {
		now = now.Add(soon)
		w.parked = false
		if w.grow(10, 10, 1, now); w.size > 10 {
			t.Fatalf("a worker that asks for one message each %s is pushed %d", soon, w.size)
		}
	}
}

// A fast worker's window doubles, but never beyond twice what it holds and asks
// for, nor its bound.
func TestWindowOfAFastWorkerDoubles(t *testing.T) {
	w := newWindow(0, broker.Intent{Concurrency: 10, MaxInFlight: 160})
	now := time.Now()
	w.grow(0, 0, 10, now)
	var sizes []int
	for range 20 {
		now = now.Add(soon / 10)
		if w.grow(w.size, w.size, 1, now) {
			sizes = append(sizes, w.size)
		}
	}
	if last := sizes[len(sizes)-1]; len(sizes) != 5 || last != 320 {
		t.Errorf("grew to %v, want doubled up to twice MaxInFlight, 320", sizes)
	}
	w = newWindow(0, broker.Intent{Concurrency: 10, MaxInFlight: 160})
	w.grow(0, 0, 10, now)
	for range 20 {
		now = now.Add(soon / 10)
		if w.grow(w.size, 9, 1, now); w.size > 20 {
			t.Fatalf("a worker that holds 9 and asks for 1 is pushed %d", w.size)
		}
	}
}

// A configured prefetch stays.
func TestFixedWindowStays(t *testing.T) {
	w := newWindow(50, broker.Intent{Concurrency: 4, MaxInFlight: 640})
	if !w.grow(0, 0, 4, time.Now()) || w.prefetch() != 50 {
		t.Fatalf("starts with %d, want 50", w.prefetch())
	}
	if w.grow(50, 50, 1, time.Now()) || w.prefetch() != 50 {
		t.Errorf("a fixed window of 50 became %d", w.prefetch())
	}
}

// The bounds hold whatever is asked for: AMQP takes 0 for no limit at all.
func TestWindowIsNeverUnbounded(t *testing.T) {
	for _, in := range []broker.Intent{{}, {Concurrency: -1}, {Concurrency: 1 << 20, MaxInFlight: 1 << 30}} {
		for _, asked := range []int{0, 1, 1 << 30} {
			w := newWindow(0, in)
			for range 30 {
				w.grow(w.size, w.size, asked, time.Now())
			}
			if w.prefetch() < 1 || w.prefetch() > mostHigh {
				t.Errorf("intent %+v, asked for %d: a window of %d", in, asked, w.prefetch())
			}
		}
	}
}
