package runtime_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

// Other messages being settled do not hide that some cannot be.
func TestHealthTellsOfUnsettledOutcomesWhileOthersAreSettled(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		refuse := memory.When(func(op memory.Op) bool { return op.Settlement.Action == broker.DeadLetter },
			memory.Always(memory.Fail(broker.ErrFull)))
		if err := w.broker.Inject(w.queue, memory.Faults{Settle: refuse}); err != nil {
			t.Fatal(err)
		}
		x := w.run(func(_ context.Context, d *broker.Delivery) error {
			if string(d.Body) == "bad" {
				return failure.Data(errors.New("hopeless"))
			}
			return nil
		}, runtime.Options{StallAfter: time.Minute})
		w.publish(body("bad"), body("bad"))
		for range 120 {
			w.publish(body("good"))
			settleDown(time.Second)
		}
		x.wantHealth(false, "2 outcomes cannot be settled")
	})
}

// A dead letter that the broker will never take as it is (too large with its
// record) is tried without what can be left out; when that is refused too, it
// stays, rarely tried again, and health is bad at once.
func TestDeadLetterThatIsTooLargeGoesWithABriefRecordOrStaysWithoutALoop(t *testing.T) {
	for name, takesBrief := range map[string]bool{"taken with a brief record": true, "never taken": false} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, memory.Queue{}, func(w *world) {
				var calls atomic.Int64
				refuse := func(_ context.Context, op memory.Op) memory.Fault {
					calls.Add(1)
					if len(op.Settlement.Failure.Attempts) == 0 && takesBrief {
						return memory.Fault{}
					}
					return memory.Fail(broker.ErrTooLarge)
				}
				if err := w.broker.Inject(w.queue, memory.Faults{Settle: refuse}); err != nil {
					t.Fatal(err)
				}
				x := w.run(func(context.Context, *broker.Delivery) error { return failure.Data(errors.New("hopeless")) }, runtime.Options{})
				w.publish(body("bad"))
				settleDown(50 * time.Millisecond)
				x.wantHealth(false, "cannot be settled")
				settleDown(24 * time.Hour)
				if takesBrief {
					w.wantLeft(0, 1)
					x.wantHealth(true, "running")
				} else if n := calls.Load(); n > 24*60 {
					t.Errorf("%d tries in a day: that is a loop", n)
				}
			})
		})
	}
}

// A broker that ends leases a little earlier than the capabilities promise, as
// latency makes it seem, still sees the attempt end as a timeout, in time.
func TestLeaseCapIsATimeoutDespiteLatency(t *testing.T) {
	inWorld(t, memory.Queue{Lease: 30 * time.Second, MaxLease: 2 * time.Minute}, func(w *world) {
		if err := w.broker.Inject(w.queue, memory.Faults{
			ReceiveCall: memory.Slow(50 * time.Millisecond), ExtendCall: memory.Slow(50 * time.Millisecond), SettleCall: memory.Slow(50 * time.Millisecond),
		}); err != nil {
			t.Fatal(err)
		}
		x := w.run(func(ctx context.Context, _ *broker.Delivery) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}, runtime.Options{Retry: runtime.RetryPolicy{MaxAttempts: 2, Backoff: noJitter}})
		w.publish(body("a"))
		settleDown(time.Hour)
		x.wantLedger(runtime.Ledger{Retried: 1, DeadLettered: 1})
	})
}

// A Receive and a Settle that both hang do not keep Run from returning.
func TestRunReturnsAlthoughReceiveAndSettleHang(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		sub := &hanging{Subscription: w.subscribe(memory.SubscribeOptions{}), free: make(chan struct{})}
		x := w.runOn(sub, func(context.Context, *broker.Delivery) error { return nil }, runtime.Options{StopTimeout: 5 * time.Second})
		w.publish(body("a"))
		settleDown(time.Second)
		start := time.Now()
		if err := x.shutdown(); err == nil {
			t.Error("Run returned nil although an outcome was not settled")
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("Run returned after %s", took)
		}
		x.wantLedger(runtime.Ledger{Lost: 1})
		close(sub.free)
		synctest.Wait()
	})
}

// hanging ignores every context after the first Receive.
type hanging struct {
	broker.Subscription
	free chan struct{}
	once atomic.Bool
}

func (h *hanging) Receive(ctx context.Context, c broker.Credit) ([]broker.Delivery, error) {
	if !h.once.Swap(true) {
		return h.Subscription.Receive(ctx, c)
	}
	<-h.free
	return nil, broker.ErrDisconnected
}

func (h *hanging) Settle(ctx context.Context, _ []broker.Settlement) error {
	<-ctx.Done()
	return ctx.Err()
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
