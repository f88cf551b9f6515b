package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

func bodies(batch []*broker.Delivery) string {
	s := ""
	for _, d := range batch {
		s += string(d.Body)
	}
	return s
}

// A batch runs when it is full, or when its first message has waited BatchWait.
func TestBatchRunsWhenFullOrWhenItsFirstMessageHasWaited(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		var seen record
		start := time.Now()
		x := w.runBatch(func(_ context.Context, batch []*broker.Delivery) error {
			seen.add("%s at %s", bodies(batch), time.Since(start))
			return nil
		}, runtime.Options{Concurrency: 1, BatchSize: 3, BatchWait: time.Second})
		for _, s := range []string{"a", "b", "c", "d"} {
			w.publish(body(s))
		}
		settleDown(time.Minute)
		if got := seen.all(); !equal(got, []string{"abc at 0s", "d at 1s"}) {
			t.Errorf("batches %v", got)
		}
		x.wantLedger(runtime.Ledger{Acked: 4})
	})
}

// One bad item does not repeat the whole batch: only what failed is retried.
func TestOnlyFailedItemsOfABatchAreRetried(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		var seen record
		x := w.runBatch(func(_ context.Context, batch []*broker.Delivery) error {
			seen.add("%s", bodies(batch))
			var failed *runtime.BatchError
			for i, d := range batch {
				if string(d.Body) == "b" && d.Attempt == 1 {
					failed = failed.Fail(i, errors.New("no luck"))
				}
			}
			return fmt.Errorf("wrapped: %w", orNil(failed.Err()))
		}, runtime.Options{Concurrency: 1, BatchSize: 3, BatchWait: time.Second, Retry: runtime.RetryPolicy{Backoff: noJitter}})
		w.publish(body("a"), body("b"), body("c"))
		settleDown(time.Minute)
		if got := seen.all(); len(got) != 2 || got[0] != "abc" || got[1] != "b" {
			t.Errorf("batches %v", got)
		}
		x.wantLedger(runtime.Ledger{Acked: 3, Retried: 1})
	})
}

func orNil(err error) error {
	if err == nil {
		return &runtime.BatchError{}
	}
	return err
}

// In a batch the messages of a key stand in order, and what follows a failed one
// of its key is not acknowledged but runs again behind it, unspent.
func TestWhatFollowsAFailedItemOfItsKeyInABatchRunsAgainBehindIt(t *testing.T) {
	inWorld(t, memory.Queue{Without: memory.Without{KeyOrder: true}}, func(w *world) {
		var seen record
		x := w.runBatch(func(ctx context.Context, batch []*broker.Delivery) error {
			var failed *runtime.BatchError
			line := ""
			for i, d := range batch {
				line += fmt.Sprintf("%s%s#%d ", d.Key, d.Body, d.Attempt)
				if d.Key == "a" && string(d.Body) == "1" && seen.count() == 0 {
					failed = failed.Fail(i, errors.New("no luck"))
				}
			}
			seen.add("%s", line)
			return failed.Err()
		}, runtime.Options{
			Concurrency: 1, BatchSize: 5, BatchWait: time.Second, Ordering: runtime.OrderKey,
			Retry: runtime.RetryPolicy{Backoff: noJitter},
		})
		w.publish(keyed("a", "0"), keyed("a", "1"), keyed("a", "2"), keyed("b", "0"), keyed("a", "3"))
		settleDown(time.Minute)
		got := seen.all()
		// What has failed before runs alone: what follows it may be in vain again.
		if !equal(got, []string{"a0#1 a1#1 a2#1 a3#1 b0#1 ", "a1#2 ", "a2#1 a3#1 "}) {
			t.Errorf("batches %q", got)
		}
		x.wantLedger(runtime.Ledger{Acked: 5})
	})
}

// A panic in a batch fails all its items, each within its own budget.
func TestPanicInABatchFailsEveryItem(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		x := w.runBatch(func(context.Context, []*broker.Delivery) error { panic("boom") },
			runtime.Options{BatchSize: 2, Retry: runtime.RetryPolicy{MaxAttempts: 2, Backoff: noJitter}})
		w.publish(body("a"), body("b"))
		settleDown(time.Hour)
		x.wantLedger(runtime.Ledger{Retried: 2, DeadLettered: 2})
	})
}

// Middleware works for the items of a batch as it does for single messages: one
// that answers for an item keeps it out of the batch, one that fails an item
// fails it alone.
func TestMiddlewareSeesEachItemOfABatch(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		var seen record
		gate := runtime.Middleware{Name: "gate", Wrap: func(next runtime.Handler) runtime.Handler {
			return func(ctx context.Context, d *broker.Delivery) error {
				switch string(d.Body) {
				case "a":
					return nil
				case "b":
					return runtime.DeadLetter(errors.New("not this one"))
				case "c":
					goexit()
				}
				return next(ctx, d)
			}
		}}
		sub := w.subscribe(memory.SubscribeOptions{})
		c, err := runtime.NewBatch(sub, func(_ context.Context, batch []*broker.Delivery) error {
			seen.add("%s", bodies(batch))
			var failed *runtime.BatchError
			return failed.Fail(1, runtime.DeadLetter(errors.New("nor this"))).Err()
		}, runtime.Options{
			Concurrency: 1, BatchSize: 6, Middleware: []runtime.Middleware{gate}, Logger: quiet,
			Retry: runtime.RetryPolicy{MaxAttempts: 1},
		})
		if err != nil {
			t.Fatal(err)
		}
		x := w.start(c)
		for _, s := range []string{"a", "b", "c", "d", "e", "f"} {
			w.publish(body(s))
		}
		settleDown(time.Minute)
		if got := seen.all(); !equal(got, []string{"def"}) {
			t.Errorf("batches %v", got)
		}
		x.wantLedger(runtime.Ledger{Acked: 3, DeadLettered: 3})
	})
}

// An answer that names an item that is not there, or that says something else
// besides, acknowledges nothing: nobody knows what it means.
func TestAmbiguousAnswerOfABatchAcknowledgesNothing(t *testing.T) {
	var none *runtime.BatchError
	for name, c := range map[string]struct {
		answer error
		want   runtime.Ledger
	}{
		"an index beyond the batch":    {none.Fail(2, errors.New("x")).Err(), runtime.Ledger{DeadLettered: 2}},
		"a negative index":             {none.Fail(-1, errors.New("x")).Err(), runtime.Ledger{DeadLettered: 2}},
		"joined with another error":    {errors.Join(none.Fail(0, errors.New("x")).Err(), errors.New("commit failed")), runtime.Ledger{DeadLettered: 2}},
		"wrapped":                      {fmt.Errorf("batch: %w", none.Fail(0, errors.New("x")).Err()), runtime.Ledger{Acked: 1, DeadLettered: 1}},
		"a nil one, returned as it is": {none, runtime.Ledger{Acked: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, memory.Queue{}, func(w *world) {
				x := w.runBatch(func(context.Context, []*broker.Delivery) error { return c.answer },
					runtime.Options{BatchSize: 2, Retry: runtime.RetryPolicy{MaxAttempts: 1}})
				w.publish(body("a"), body("b"))
				settleDown(time.Minute)
				x.wantLedger(c.want)
			})
		})
	}
}

// A batch handler that ends its goroutine fails its items; the chains around it
// end too, so that what they deferred runs.
func TestGoexitInABatchEndsTheChainsAroundIt(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		var g gauge
		around := runtime.Middleware{Name: "around", Wrap: func(next runtime.Handler) runtime.Handler {
			return func(ctx context.Context, d *broker.Delivery) error {
				defer g.enter()()
				return next(ctx, d)
			}
		}}
		x := w.runBatch(func(context.Context, []*broker.Delivery) error {
			goexit()
			return nil
		}, runtime.Options{BatchSize: 2, Middleware: []runtime.Middleware{around}, Retry: runtime.RetryPolicy{Backoff: noJitter}})
		w.publish(body("a"), body("b"))
		settleDown(time.Hour)
		x.wantLedger(runtime.Ledger{Retried: 4, DeadLettered: 2}) // a bug has 3 attempts
		if g.now != 0 || g.peak() != 2 {
			t.Errorf("%d chains have not ended, at most %d ran", g.now, g.peak())
		}
	})
}

// What middleware turns away is not overtaken by its key: what follows it is not
// acknowledged but runs again behind it.
func TestItemThatMiddlewareTurnsAwayIsNotOvertakenByItsKey(t *testing.T) {
	inWorld(t, memory.Queue{Without: memory.Without{KeyOrder: true}}, func(w *world) {
		var done record
		var turnedAway atomic.Bool
		gate := runtime.Middleware{Name: "gate", Wrap: func(next runtime.Handler) runtime.Handler {
			return func(ctx context.Context, d *broker.Delivery) error {
				if string(d.Body) == "1" && !turnedAway.Swap(true) {
					return runtime.Release(time.Second, "not yet")
				}
				return next(ctx, d)
			}
		}}
		x := w.runBatch(func(_ context.Context, batch []*broker.Delivery) error {
			for _, d := range batch {
				done.add("%s", d.Body)
			}
			return nil
		}, runtime.Options{Ordering: runtime.OrderKey, BatchSize: 2, Middleware: []runtime.Middleware{gate}})
		w.publish(keyed("k", "1"), keyed("k", "2"))
		settleDown(time.Minute)
		if got := done.all(); !equal(got, []string{"1", "2"}) {
			t.Errorf("handled %v", got)
		}
		x.wantLedger(runtime.Ledger{Acked: 2})
	})
}

// What follows failing items of its key runs again behind them, but not again
// with every attempt of each: no more often than Explain says.
func TestWhatFollowsFailingItemsRunsNoMoreOftenThanExplainSays(t *testing.T) {
	inWorld(t, memory.Queue{Without: memory.Without{KeyOrder: true}}, func(w *world) {
		var last record
		x := w.runBatch(func(_ context.Context, batch []*broker.Delivery) error {
			var failed *runtime.BatchError
			for i, d := range batch {
				if string(d.Body) == "9" {
					last.add("run")
					continue
				}
				failed = failed.Fail(i, errors.New("no luck"))
			}
			return failed.Err()
		}, runtime.Options{Ordering: runtime.OrderKey, BatchSize: 10, MaxAbandoned: 1})
		for i := range 10 {
			w.publish(keyed("k", fmt.Sprint(i)))
		}
		settleDown(time.Hour)
		if most := x.Explain().MaxRuns; last.count() > most {
			t.Errorf("ran %d times; Explain says %d at the most", last.count(), most)
		}
		x.wantLedger(runtime.Ledger{Acked: 1, Retried: 0, DeadLettered: 9})
	})
}
