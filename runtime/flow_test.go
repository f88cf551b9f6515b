package runtime_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

// Never more in flight than MaxInFlight messages, and never more bytes than
// MaxInFlightBytes but for one message.
func TestInFlightStaysWithinItsBounds(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		x := w.run(func(context.Context, *broker.Delivery) error {
			time.Sleep(time.Millisecond)
			return nil
		}, runtime.Options{Concurrency: 4, MaxInFlight: 7, MaxInFlightBytes: 5000})
		for range 500 {
			w.publish(broker.Message{Body: make([]byte, 1000)})
		}
		for range 1000 {
			settleDown(500 * time.Microsecond)
			if s := x.Stats(); s.Ledger.InFlight > 7 || s.Bytes > 5000+1100 || !s.Ledger.Balanced() {
				t.Fatalf("out of bounds: %+v", s)
			}
		}
		w.wantLeft(0, 0)
	})
}

// A busy worker hoards nothing that an idle one could take: while handlers are
// slow, only as many messages are fetched as workers can start.
func TestBusyConsumerLeavesMessagesToIdleOnes(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		slow := func(context.Context, *broker.Delivery) error {
			time.Sleep(10 * time.Second)
			return nil
		}
		a := w.run(slow, runtime.Options{Concurrency: 2, MaxInFlight: 100})
		for range 8 {
			w.publish(body("x"))
		}
		settleDown(11 * time.Second)
		if s := a.Stats(); s.Ready != 0 || s.Running != 2 {
			t.Errorf("the busy consumer hoards: %+v", s)
		}
		b := w.run(slow, runtime.Options{Concurrency: 4, MaxInFlight: 100})
		settleDown(time.Second)
		if s := b.Stats(); s.Running != 4 {
			t.Errorf("the idle consumer found only %d messages", s.Running)
		}
	})
}

// The budget is one: it counts on where it was, whatever process tries next, and
// whatever the class of the error is now.
func TestBudgetSurvivesRestartsAndChangesOfClass(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		runs := 0
		h := func(context.Context, *broker.Delivery) error {
			runs++
			if runs%2 == 0 {
				return failure.Resource(errors.New("busy"))
			}
			return failure.Dependency(errors.New("down"))
		}
		o := runtime.Options{Retry: runtime.RetryPolicy{MaxAttempts: 6}}
		w.publish(body("a"))
		for range 20 {
			x := w.run(h, o)
			settleDown(2 * time.Second)
			if err := x.shutdown(); err != nil {
				t.Fatal(err)
			}
		}
		w.run(h, o)
		settleDown(24 * time.Hour)
		if runs != 6 {
			t.Errorf("ran %d times, want 6", runs)
		}
		w.wantLeft(0, 1)
	})
}

// In-process retries and broker redeliveries do not multiply: a step that retries
// inside the handler spends the message's budget.
func TestStepSpendsTheMessagesOneBudget(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		steps, handlers := 0, 0
		x := w.run(func(ctx context.Context, _ *broker.Delivery) error {
			handlers++
			return runtime.Step(ctx, func(ctx context.Context) error {
				steps++
				if info, _ := runtime.InfoFrom(ctx); info.Attempt != steps || info.MaxAttempts != 7 {
					t.Errorf("step %d sees %+v", steps, info)
				}
				return errors.New("no luck")
			})
		}, runtime.Options{Retry: runtime.RetryPolicy{MaxAttempts: 7, Backoff: noJitter}})
		w.publish(body("a"))
		settleDown(time.Hour)
		// Waits of 1 and 2 s are spent inside the handler, longer ones outside.
		if steps != 7 || handlers != 5 {
			t.Errorf("%d steps in %d handlers, want 7 in 5", steps, handlers)
		}
		x.wantLedger(runtime.Ledger{Retried: 4, DeadLettered: 1})
		if _, dead := w.left(); dead[0].Failure.Count != 7 {
			t.Errorf("the record counts %d failures, want 7", dead[0].Failure.Count)
		}
	})
}

// A message that keeps killing the process is dead-lettered as a crash, unrun.
func TestMessageThatKeepsKillingTheProcessIsDeadLetteredAsACrash(t *testing.T) {
	inWorld(t, memory.Queue{Lease: 10 * time.Second}, func(w *world) {
		w.publish(body("a"))
		killer := w.subscribe(memory.SubscribeOptions{})
		for range 4 { // received and never settled
			if _, err := killer.Receive(w.Context(), broker.Credit{Messages: 1, Bytes: 1}); err != nil {
				t.Fatal(err)
			}
			settleDown(11 * time.Second)
		}
		runs := 0
		w.run(func(context.Context, *broker.Delivery) error { runs++; return nil }, runtime.Options{MaxAbandoned: 3})
		settleDown(time.Minute)
		_, dead := w.left()
		if runs != 0 || len(dead) != 1 || dead[0].Failure.Class != failure.ClassCrash {
			t.Errorf("ran %d times, dead letters %+v", runs, dead)
		}
	})
}

// A delay beyond what the broker can do is cut to that instead of failing for
// ever.
func TestDelayBeyondTheBrokersLimitIsCutToIt(t *testing.T) {
	inWorld(t, memory.Queue{MaxDelay: time.Minute}, func(w *world) {
		var seen record
		start := time.Now()
		w.run(func(context.Context, *broker.Delivery) error {
			seen.add("%s", time.Since(start))
			return runtime.RetryAfter(time.Hour, errors.New("later"))
		}, runtime.Options{Retry: runtime.RetryPolicy{MaxAttempts: 3}})
		w.publish(body("a"))
		settleDown(time.Hour)
		if got := seen.all(); !equal(got, []string{"0s", "1m0s", "2m0s"}) {
			t.Errorf("ran at %v", got)
		}
	})
}

// A dead-letter queue that refuses costs nothing: the message stays leased, it
// is tried again without a loop, health says so, and in the end it is safe.
func TestRefusedDeadLetterLosesNothingAndDoesNotSpin(t *testing.T) {
	inWorld(t, memory.Queue{Lease: 10 * time.Second}, func(w *world) {
		var calls atomic.Int64
		var full atomic.Bool
		full.Store(true)
		refuse := func(context.Context, memory.Op) memory.Fault {
			calls.Add(1)
			if full.Load() {
				return memory.Fail(broker.ErrFull)
			}
			return memory.Fault{}
		}
		if err := w.broker.Inject(w.queue, memory.Faults{SettleCall: refuse}); err != nil {
			t.Fatal(err)
		}
		runs := 0
		x := w.run(func(context.Context, *broker.Delivery) error {
			runs++
			return failure.Data(errors.New("hopeless"))
		}, runtime.Options{})
		w.publish(body("a"))
		settleDown(10 * time.Minute)
		if n := calls.Load(); n > 130 { // one in 5 s
			t.Errorf("%d tries in 10 minutes: that is a loop", n)
		}
		if h := x.Health(); h.Healthy {
			t.Error("healthy although nothing can be settled")
		}
		w.wantLeft(1, 0)
		full.Store(false)
		settleDown(time.Minute)
		w.wantLeft(0, 1)
		if h := x.Health(); !h.Healthy || runs != 1 {
			t.Errorf("afterwards: %s, %d runs", h, runs)
		}
	})
}

// Pause stops receiving, also where a receive was under way, and lets what runs go
// on; Resume goes on.
func TestPauseStopsReceivingUntilResume(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		x := w.run(func(context.Context, *broker.Delivery) error { return nil }, runtime.Options{})
		settleDown(time.Second)
		x.Pause()
		w.publish(body("a"), body("b"))
		settleDown(time.Hour)
		w.wantLeft(2, 0)
		if h := x.Health(); !h.Healthy || h.Status != "paused" {
			t.Errorf("health: %s", h)
		}
		x.Resume()
		settleDown(time.Second)
		w.wantLeft(0, 0)
	})
}

// Held messages take at most half of MaxInFlight where the broker can delay.
func TestHeldMessagesTakeAtMostHalfOfMaxInFlight(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		x := w.run(func(context.Context, *broker.Delivery) error {
			return runtime.Release(30*time.Second, "parked")
		}, runtime.Options{Concurrency: 1, MaxInFlight: 16})
		for range 100 {
			w.publish(body("x"))
		}
		settleDown(10 * time.Second)
		if s := x.Stats(); s.Held != 8 || s.Ledger.Released != 92 {
			t.Errorf("held %d, released %d; want 8 and 92", s.Held, s.Ledger.Released)
		}
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

// What was buffered while handlers were quick goes back when they have become
// slow, so that another process can take it.
func TestBufferIsGivenBackWhenHandlersHaveBecomeSlow(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		var slow atomic.Bool
		busy := w.run(func(ctx context.Context, _ *broker.Delivery) error {
			if !slow.Load() {
				return nil
			}
			select {
			case <-time.After(time.Minute):
			case <-ctx.Done():
			}
			return nil
		}, runtime.Options{Concurrency: 1, MaxInFlight: 1000})
		for range 100 {
			w.publish(body("quick"))
		}
		settleDown(time.Second)
		slow.Store(true)
		for range 500 {
			w.publish(body("slow"))
		}
		settleDown(100 * time.Millisecond)
		if s := busy.Stats(); s.Ready < 400 {
			t.Fatalf("nothing is buffered: %+v", s)
		}
		idle := w.run(func(context.Context, *broker.Delivery) error { return nil }, runtime.Options{Concurrency: 100})
		settleDown(3 * time.Minute)
		if s := busy.Stats(); s.Ready > 0 || idle.Ledger().Acked < 490 {
			t.Errorf("%d wait at the consumer that does one a minute; the idle one did %d", s.Ready, idle.Ledger().Acked)
		}
	})
}

// A settlement that is refused because the lease is gone is counted as lost, not
// as what it would have been.
func TestSettlementOfALostLeaseIsCountedAsLost(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		if err := w.broker.Inject(w.queue, memory.Faults{Settle: memory.Next(1, memory.Fail(broker.ErrLeaseLost))}); err != nil {
			t.Fatal(err)
		}
		x := w.run(func(context.Context, *broker.Delivery) error { return nil }, runtime.Options{})
		w.publish(body("a"))
		settleDown(time.Second)
		x.wantLedger(runtime.Ledger{Lost: 1})
		settleDown(time.Minute)
		x.wantLedger(runtime.Ledger{Lost: 1, Acked: 1})
	})
}

// A retry that is decided while the consumer drains goes back with its count
// instead of being held by a process that ends.
func TestRetryDecidedDuringTheDrainIsReleasedWithItsCount(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		x := w.run(func(context.Context, *broker.Delivery) error {
			time.Sleep(10 * time.Second)
			return errors.New("no luck")
		}, runtime.Options{Retry: runtime.RetryPolicy{MaxHold: time.Minute, Backoff: noJitter}})
		w.publish(body("a"))
		settleDown(time.Second)
		if err := x.shutdown(); err != nil {
			t.Error(err)
		}
		x.wantLedger(runtime.Ledger{Released: 1})
		if queue, _ := w.left(); len(queue) != 1 || queue[0].Attempt != 2 {
			t.Errorf("left in the queue: %+v", queue)
		}
	})
}

// A message that arrives with its budget spent is dead-lettered unrun.
func TestMessageBeyondItsBudgetIsNotRun(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		w.publish(body("a"))
		sub := w.subscribe(memory.SubscribeOptions{})
		ds, err := sub.Receive(w.Context(), broker.Credit{Messages: 1, Bytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := sub.Settle(w.Context(), []broker.Settlement{{Delivery: &ds[0], Action: broker.Retry, Attempt: 4}}); err != nil {
			t.Fatal(err)
		}
		x := w.run(func(context.Context, *broker.Delivery) error {
			t.Error("it ran")
			return nil
		}, runtime.Options{Retry: runtime.RetryPolicy{MaxAttempts: 3}})
		settleDown(time.Second)
		x.wantLedger(runtime.Ledger{DeadLettered: 1})
	})
}

// RetryAfter does not outlast MaxElapsed.
func TestRetryAfterDoesNotOutlastMaxElapsed(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		x := w.run(func(context.Context, *broker.Delivery) error {
			return runtime.RetryAfter(time.Hour, errors.New("later"))
		}, runtime.Options{Retry: runtime.RetryPolicy{MaxElapsed: 90 * time.Minute}})
		w.publish(body("a"))
		settleDown(24 * time.Hour)
		x.wantLedger(runtime.Ledger{Retried: 1, DeadLettered: 1})
	})
}
