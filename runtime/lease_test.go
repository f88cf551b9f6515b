package runtime_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

// A handler that takes many times the lease runs once: the lease is extended for
// as long as it runs.
func TestLeaseIsExtendedWhileTheHandlerRuns(t *testing.T) {
	inWorld(t, memory.Queue{Lease: 10 * time.Second}, func(w *world) {
		var seen record
		h := func(ctx context.Context, _ *broker.Delivery) error {
			seen.add("run")
			time.Sleep(5 * time.Minute)
			return ctx.Err()
		}
		a, b := w.run(h, runtime.Options{}), w.run(h, runtime.Options{})
		w.publish(body("a"))
		settleDown(time.Hour)
		if seen.count() != 1 {
			t.Errorf("ran %d times, want once", seen.count())
		}
		if got := a.Ledger().Acked + b.Ledger().Acked; got != 1 {
			t.Errorf("acked %d, want 1", got)
		}
		w.wantLeft(0, 0)
	})
}

// One failed extension is not a loss: it is tried again in time.
func TestOneFailedExtensionIsNoLoss(t *testing.T) {
	inWorld(t, memory.Queue{Lease: 10 * time.Second}, func(w *world) {
		if err := w.broker.Inject(w.queue, memory.Faults{ExtendCall: memory.Every(2, memory.Fail(broker.ErrDisconnected))}); err != nil {
			t.Fatal(err)
		}
		x := w.run(func(ctx context.Context, _ *broker.Delivery) error {
			time.Sleep(5 * time.Minute)
			return ctx.Err()
		}, runtime.Options{})
		w.publish(body("a"))
		settleDown(time.Hour)
		x.wantLedger(runtime.Ledger{Acked: 1})
	})
}

// A lost lease cancels the handler with ErrLeaseLost before the lease ends, its
// outcome is not settled, and a second consumer gets the message.
func TestLostLeaseCancelsTheHandlerInTimeAndItsOutcomeIsNotSettled(t *testing.T) {
	inWorld(t, memory.Queue{Lease: 10 * time.Second}, func(w *world) {
		if err := w.broker.Inject(w.queue, memory.Faults{ExtendCall: memory.Always(memory.Fail(broker.ErrDisconnected))}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var cause error
		var cancelled, second time.Duration
		x := w.run(func(ctx context.Context, d *broker.Delivery) error {
			if d.Abandoned > 0 {
				second = time.Since(start)
				return nil
			}
			<-ctx.Done()
			cause, cancelled = context.Cause(ctx), time.Since(start)
			return nil // would be an ack
		}, runtime.Options{})
		w.publish(body("a"))
		settleDown(time.Hour)
		if !errors.Is(cause, broker.ErrLeaseLost) {
			t.Errorf("cancelled with %v, want ErrLeaseLost", cause)
		}
		if cancelled == 0 || cancelled >= 10*time.Second || second < 10*time.Second {
			t.Errorf("cancelled after %s, second run after %s; the lease ended after 10s", cancelled, second)
		}
		x.wantLedger(runtime.Ledger{Acked: 1, Lost: 1})
		w.wantLeft(0, 0)
	})
}

// When the broker refuses an extension because the lease is gone, the handler is
// cancelled at once.
func TestRefusedExtensionIsALoss(t *testing.T) {
	inWorld(t, memory.Queue{Lease: 30 * time.Second}, func(w *world) {
		if err := w.broker.Inject(w.queue, memory.Faults{Extend: memory.Next(1, memory.Fail(broker.ErrLeaseLost))}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var cancelled time.Duration
		w.run(func(ctx context.Context, d *broker.Delivery) error {
			if d.Abandoned == 0 {
				<-ctx.Done()
				cancelled = time.Since(start)
			}
			return nil
		}, runtime.Options{})
		w.publish(body("a"))
		settleDown(time.Hour)
		if cancelled != 20*time.Second {
			t.Errorf("cancelled after %s, want 20s, when it was first extended", cancelled)
		}
		w.wantLeft(0, 0)
	})
}

// A session that ends takes all its deliveries with it: running ones are
// cancelled, buffered ones never start.
func TestEndedSessionCancelsEveryDeliveryThatLivedOnIt(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		sub := w.subscribe(memory.SubscribeOptions{SessionLeases: true})
		var seen record
		x := w.runOn(sub, func(ctx context.Context, d *broker.Delivery) error {
			if d.Abandoned > 0 {
				seen.add("again")
				return nil
			}
			<-ctx.Done()
			seen.add("%v", errors.Is(context.Cause(ctx), broker.ErrLeaseLost))
			return nil
		}, runtime.Options{Concurrency: 2})
		w.publish(body("a"), body("b"))
		settleDown(time.Second)
		sub.Disconnect()
		settleDown(time.Second)
		sub.Reconnect()
		settleDown(time.Minute)
		if got := seen.all(); !equal(got, []string{"true", "true", "again", "again"}) {
			t.Errorf("saw %v", got)
		}
		x.wantLedger(runtime.Ledger{Acked: 2, Lost: 2})
	})
}

// Where the broker cannot extend leases, an attempt is ended in time to be
// settled: the slow message fails as a timeout, which spends its budget, instead
// of coming back for ever.
func TestWithoutExtensionAnAttemptEndsBeforeItsLease(t *testing.T) {
	inWorld(t, memory.Queue{Lease: 10 * time.Second, Without: memory.Without{Extend: true}}, func(w *world) {
		var causes record
		x := w.run(func(ctx context.Context, _ *broker.Delivery) error {
			<-ctx.Done()
			causes.add("%v", errors.Is(context.Cause(ctx), runtime.ErrTimeout) && errors.Is(ctx.Err(), context.DeadlineExceeded))
			return ctx.Err()
		}, runtime.Options{Retry: runtime.RetryPolicy{MaxAttempts: 2, Backoff: noJitter}})
		w.publish(body("a"))
		settleDown(time.Hour)
		if got := causes.all(); !equal(got, []string{"true", "true"}) {
			t.Errorf("cancelled with ErrTimeout: %v, want twice true", got)
		}
		x.wantLedger(runtime.Ledger{Retried: 1, DeadLettered: 1})
		if _, dead := w.left(); len(dead) != 1 || dead[0].Failure.Class != failure.ClassTimeout {
			t.Errorf("dead letters %+v", dead)
		}
	})
}

// A handler that hangs hides its message for MaxLease at the most.
func TestHangingHandlerHidesItsMessageForMaxLeaseAtMost(t *testing.T) {
	inWorld(t, memory.Queue{Lease: 10 * time.Second}, func(w *world) {
		free := make(chan struct{})
		defer close(free)
		w.run(func(_ context.Context, d *broker.Delivery) error {
			if d.Abandoned == 0 {
				<-free // ignores its context
			}
			return nil
		}, runtime.Options{MaxLease: 2 * time.Minute, DrainTimeout: -1})
		w.publish(body("a"))
		settleDown(119 * time.Second)
		if queue, _ := w.left(); len(queue) != 1 || queue[0].State != memory.Leased {
			t.Errorf("before MaxLease: %+v", queue)
		}
		settleDown(2 * time.Minute)
		w.wantLeft(0, 0)
	})
}

// Timeout bounds the attempt; the slot stays taken until the handler returns.
func TestTimeoutFailsTheAttemptAndTheSlotStaysTakenUntilTheHandlerReturns(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		var g gauge
		x := w.run(func(ctx context.Context, _ *broker.Delivery) error {
			defer g.enter()()
			time.Sleep(30 * time.Second) // ignores its context
			return ctx.Err()
		}, runtime.Options{Concurrency: 1, Timeout: 5 * time.Second, Retry: runtime.RetryPolicy{MaxAttempts: 1}})
		w.publish(body("a"), body("b"), body("c"))
		settleDown(10 * time.Second)
		if s := x.Stats(); s.Stuck != 1 {
			t.Errorf("the handler is past its time and not reported: %+v", s)
		}
		settleDown(time.Hour)
		if g.peak() != 1 {
			t.Errorf("%d handlers ran at once, want 1", g.peak())
		}
		x.wantLedger(runtime.Ledger{DeadLettered: 3})
		if _, dead := w.left(); len(dead) != 3 || dead[0].Failure.Class != failure.ClassTimeout {
			t.Errorf("dead letters %+v", dead)
		}
	})
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

// An outcome does not wait for others to be settled with when its lease would
// end meanwhile.
func TestSettlementDoesNotLingerBeyondItsLease(t *testing.T) {
	inWorld(t, memory.Queue{Lease: time.Second, Without: memory.Without{Extend: true}}, func(w *world) {
		x := w.runOn(w.subscribe(memory.SubscribeOptions{SettleLinger: 200 * time.Millisecond}), func(context.Context, *broker.Delivery) error {
			time.Sleep(850 * time.Millisecond) // of the 900 that its lease lets it have
			return nil
		}, runtime.Options{})
		w.publish(body("a"))
		settleDown(time.Minute)
		x.wantLedger(runtime.Ledger{Acked: 1})
	})
}
