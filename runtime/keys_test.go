package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

// Brokers hand out keys in two ways: one message of a key at a time, or several
// in order. The order of a key must hold on both.
var keyBrokers = map[string]memory.Queue{
	"broker keeps the order":  {},
	"runtime keeps the order": {Without: memory.Without{KeyOrder: true}},
}

// Messages of one key run one at a time, in order, and different keys in parallel.
func TestMessagesOfOneKeyRunInOrderAndDifferentKeysInParallel(t *testing.T) {
	for name, q := range keyBrokers {
		t.Run(name, func(t *testing.T) {
			inWorld(t, q, func(w *world) {
				seen := map[string]*record{"a": {}, "b": {}, "c": {}}
				start := time.Now()
				w.run(func(_ context.Context, d *broker.Delivery) error {
					time.Sleep(time.Second)
					seen[d.Key].add("%s at %s", d.Body, time.Since(start))
					return nil
				}, runtime.Options{Ordering: runtime.OrderKey, Concurrency: 10})
				for i := range 3 {
					for _, k := range []string{"a", "b", "c"} {
						w.publish(keyed(k, fmt.Sprint(i)))
					}
				}
				settleDown(time.Minute)
				for k, r := range seen {
					if got := r.all(); !equal(got, []string{"0 at 1s", "1 at 2s", "2 at 3s"}) {
						t.Errorf("key %s: %v", k, got)
					}
				}
			})
		})
	}
}

// A failing message holds back its own key alone, and the messages behind it
// come after it.
func TestFailingMessageHoldsBackItsOwnKeyAlone(t *testing.T) {
	for name, q := range keyBrokers {
		t.Run(name, func(t *testing.T) {
			inWorld(t, q, func(w *world) {
				var a, b record
				start := time.Now()
				w.run(func(_ context.Context, d *broker.Delivery) error {
					if d.Key == "b" {
						b.add("%s at %s", d.Body, time.Since(start))
						return nil
					}
					a.add("%s", d.Body)
					if string(d.Body) == "0" && len(a.all()) < 4 {
						return errors.New("no luck")
					}
					return nil
				}, runtime.Options{Ordering: runtime.OrderKey, Retry: runtime.RetryPolicy{Backoff: noJitter}})
				w.publish(keyed("a", "0"), keyed("a", "1"), keyed("b", "0"), keyed("a", "2"), keyed("b", "1"))
				settleDown(time.Minute)
				if got := a.all(); !equal(got, []string{"0", "0", "0", "0", "1", "2"}) {
					t.Errorf("the failing key ran %v", got)
				}
				if got := b.all(); !equal(got, []string{"0 at 0s", "1 at 0s"}) {
					t.Errorf("the other key ran %v", got)
				}
			})
		})
	}
}

// What follows a dead letter of its key runs only when the dead letter is safe.
func TestWhatFollowsADeadLetterWaitsUntilItIsSafe(t *testing.T) {
	inWorld(t, memory.Queue{Without: memory.Without{KeyOrder: true}}, func(w *world) {
		refuse := memory.When(func(op memory.Op) bool { return op.Settlement.Action == broker.DeadLetter },
			memory.Next(3, memory.Fail(broker.ErrFull)))
		if err := w.broker.Inject(w.queue, memory.Faults{Settle: refuse}); err != nil {
			t.Fatal(err)
		}
		var seen record
		start := time.Now()
		x := w.run(func(_ context.Context, d *broker.Delivery) error {
			seen.add("%s at %s", d.Body, time.Since(start))
			if string(d.Body) == "0" {
				return runtime.DeadLetter(errors.New("hopeless"))
			}
			return nil
		}, runtime.Options{Ordering: runtime.OrderKey})
		w.publish(keyed("a", "0"), keyed("a", "1"))
		settleDown(time.Minute)
		if got := seen.all(); !equal(got, []string{"0 at 0s", "1 at 700ms"}) { // 100 + 200 + 400 ms
			t.Errorf("ran %v", got)
		}
		x.wantLedger(runtime.Ledger{Acked: 1, DeadLettered: 1})
	})
}

// Messages without a key have no order, also where keys have.
func TestMessagesWithoutAKeyRunInParallelUnderKeyOrder(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		var g gauge
		w.run(func(context.Context, *broker.Delivery) error {
			defer g.enter()()
			time.Sleep(time.Second)
			return nil
		}, runtime.Options{Ordering: runtime.OrderKey, Concurrency: 1 + 7})
		for range 8 {
			w.publish(body("x"))
		}
		settleDown(time.Minute)
		if g.peak() != 8 {
			t.Errorf("%d ran at once, want 8", g.peak())
		}
	})
}

// A wait that a handler asks for and that outlasts every lease is cut to what a
// lease allows where it must be held: its key is not overtaken.
func TestWaitBeyondTheLeaseIsCutRatherThanOvertaken(t *testing.T) {
	inWorld(t, memory.Queue{Without: memory.Without{KeyOrder: true}}, func(w *world) {
		var done record
		start := time.Now()
		x := w.run(func(_ context.Context, d *broker.Delivery) error {
			if string(d.Body) == "1" && d.Attempt == 1 {
				return runtime.RetryAfter(2*time.Hour, errors.New("come back later"))
			}
			done.add("%s within the hour: %v", d.Body, time.Since(start) < time.Hour)
			return nil
		}, runtime.Options{Ordering: runtime.OrderKey, MaxLease: time.Hour})
		w.publish(keyed("k", "1"), keyed("k", "2"))
		settleDown(5 * time.Hour)
		if got := done.all(); !equal(got, []string{"1 within the hour: true", "2 within the hour: true"}) {
			t.Errorf("done: %v", got)
		}
		x.wantLedger(runtime.Ledger{Acked: 2})
	})
}

// What waits behind a message that has to go back to a broker without an order of
// its own goes back too, and not to be delivered before it.
func TestWhatFollowsAMessageThatGoesBackComesAfterIt(t *testing.T) {
	q := memory.Queue{Lease: 10 * time.Second, Without: memory.Without{KeyOrder: true, Extend: true}}
	inWorld(t, q, func(w *world) {
		var seen record
		w.run(func(ctx context.Context, d *broker.Delivery) error {
			seen.add("%s", d.Body)
			if string(d.Body) == "0" && d.Attempt == 1 {
				<-ctx.Done() // its lease is over, so that its retry cannot be held
				return ctx.Err()
			}
			return nil
		}, runtime.Options{Ordering: runtime.OrderKey, Retry: runtime.RetryPolicy{
			MaxAttempts: 2, Backoff: noJitter,
			Classes: map[failure.Class]runtime.ClassPolicy{failure.ClassDependency: {Backoff: noJitter}},
		}})
		w.publish(keyed("a", "0"))
		settleDown(5 * time.Second)
		w.publish(keyed("a", "1"))
		settleDown(time.Minute)
		if got := seen.all(); !equal(got, []string{"0", "0", "1"}) {
			t.Errorf("ran %v", got)
		}
	})
}
