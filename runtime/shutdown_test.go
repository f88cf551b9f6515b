package runtime_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

// A handler that ends within the drain time is settled.
func TestShutdownLetsRunningHandlersFinishAndSettlesThem(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		x := w.run(func(ctx context.Context, _ *broker.Delivery) error {
			time.Sleep(20 * time.Second)
			return ctx.Err()
		}, runtime.Options{DrainTimeout: 30 * time.Second})
		w.publish(body("a"))
		settleDown(time.Second)
		if err := x.shutdown(); err != nil {
			t.Error(err)
		}
		x.wantLedger(runtime.Ledger{Acked: 1})
		w.wantLeft(0, 0)
	})
}

// A handler that does not is cancelled with a cause, and its message goes back
// unspent: the next delivery is attempt 1 again, and counts as no crash.
func TestShutdownCancelsSlowHandlersWithACauseAndReleasesTheirMessagesUnspent(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		var cause error
		var took time.Duration
		start := time.Now()
		x := w.run(func(ctx context.Context, _ *broker.Delivery) error {
			<-ctx.Done()
			cause, took = context.Cause(ctx), time.Since(start)
			return ctx.Err()
		}, runtime.Options{DrainTimeout: 10 * time.Second})
		w.publish(body("a"))
		settleDown(time.Second)
		if err := x.shutdown(); err != nil {
			t.Error(err)
		}
		if !errors.Is(cause, runtime.ErrShutdown) || took != 11*time.Second {
			t.Errorf("cancelled with %v after %s, want ErrShutdown after 11s", cause, took)
		}
		x.wantLedger(runtime.Ledger{Released: 1})
		queue, _ := w.left()
		if len(queue) != 1 || queue[0].Attempt != 1 || queue[0].Abandoned != 0 || queue[0].State != memory.Ready {
			t.Errorf("left in the queue: %+v", queue)
		}
	})
}

// Messages that never started are released as soon as shutdown begins, while
// handlers still run, so that another process can take them.
func TestShutdownReleasesNeverStartedMessagesAtOnce(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		quick := true
		x := w.run(func(context.Context, *broker.Delivery) error {
			if !quick {
				time.Sleep(10 * time.Second)
			}
			return nil
		}, runtime.Options{Concurrency: 1, MaxInFlight: 16})
		w.publish(body("teaches the consumer to buffer"))
		settleDown(time.Second)
		quick = false
		for range 5 {
			w.publish(body("slow"))
		}
		settleDown(500 * time.Millisecond)
		if s := x.Stats(); s.Ready == 0 || s.Running != 1 {
			t.Fatalf("nothing is buffered: %+v", s)
		}
		x.stop()
		synctest.Wait()
		if s := x.Stats(); s.Ready != 0 || s.Running != 1 || s.Ledger.Released != 4 {
			t.Errorf("after shutdown began: %+v", s)
		}
		<-x.done
		x.wantLedger(runtime.Ledger{Acked: 2, Released: 4})
		w.wantLeft(4, 0)
	})
}

// A held retry goes back with its count and its record.
func TestShutdownReleasesHeldRetriesWithTheirCount(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		x := w.run(func(context.Context, *broker.Delivery) error {
			return errors.New("no luck")
		}, runtime.Options{Retry: runtime.RetryPolicy{MaxHold: time.Minute, Backoff: noJitter}})
		w.publish(body("a"))
		settleDown(2 * time.Second) // attempts 1 and 2, the third is due at 3 s
		if s := x.Stats(); s.Held != 1 {
			t.Fatalf("not held: %+v", s)
		}
		if err := x.shutdown(); err != nil {
			t.Error(err)
		}
		x.wantLedger(runtime.Ledger{Released: 1})
		queue, _ := w.left()
		if len(queue) != 1 || queue[0].Attempt != 3 || queue[0].Failure == nil || queue[0].Failure.Count != 2 {
			t.Errorf("left in the queue: %+v", queue)
		}
	})
}

// A handler that ignores its cancellation is reported, its message is left to its
// lease, and Run returns all the same.
func TestShutdownReportsAStuckHandlerAndRunStillReturns(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		free := make(chan struct{})
		x := w.run(func(context.Context, *broker.Delivery) error {
			<-free
			return nil
		}, runtime.Options{DrainTimeout: time.Second, StopTimeout: 2 * time.Second})
		w.publish(body("a"))
		settleDown(time.Second)
		start := time.Now()
		err := x.shutdown()
		if !errors.Is(err, runtime.ErrStuck) {
			t.Errorf("Run returned %v, want ErrStuck", err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("Run returned after %s, want 3s", took)
		}
		x.wantLedger(runtime.Ledger{Lost: 1})
		close(free)
		synctest.Wait()
		x.wantLedger(runtime.Ledger{Lost: 1}) // what the handler returned later changes nothing
		settleDown(time.Hour)
		queue, _ := w.left()
		if len(queue) != 1 || queue[0].Abandoned != 1 {
			t.Errorf("left in the queue: %+v", queue)
		}
	})
}

// Run may be called once.
func TestASecondRunIsRefused(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		x := w.run(func(context.Context, *broker.Delivery) error { return nil }, runtime.Options{})
		synctest.Wait()
		if err := x.Run(w.Context()); !errors.Is(err, runtime.ErrRunning) {
			t.Errorf("got %v, want ErrRunning", err)
		}
	})
}

// Outcomes that the broker refuses at shutdown are reported, not forgotten.
func TestOutcomesThatCannotBeSettledAtShutdownAreReported(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		if err := w.broker.Inject(w.queue, memory.Faults{SettleCall: memory.Always(memory.Fail(broker.ErrDisconnected))}); err != nil {
			t.Fatal(err)
		}
		x := w.run(func(context.Context, *broker.Delivery) error { return nil }, runtime.Options{})
		w.publish(body("a"))
		settleDown(time.Second)
		if err := x.shutdown(); err == nil {
			t.Error("Run returned nil although an outcome was not settled")
		}
		x.wantLedger(runtime.Ledger{Lost: 1})
		w.wantLeft(1, 0)
	})
}

// A Settle that is still under way when shutdown gives up on it counts its
// messages once, as lost, whatever it answers later.
func TestSettleThatOutlastsShutdownCountsOnce(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		if err := w.broker.Inject(w.queue, memory.Faults{SettleCall: memory.Slow(20 * time.Second)}); err != nil {
			t.Fatal(err)
		}
		x := w.run(func(context.Context, *broker.Delivery) error { return nil }, runtime.Options{StopTimeout: 5 * time.Second})
		w.publish(body("a"), body("b"))
		settleDown(time.Second)
		if err := x.shutdown(); err == nil {
			t.Error("Run returned nil although outcomes were not settled")
		}
		settleDown(time.Minute)
		x.wantLedger(runtime.Ledger{Lost: 2})
		if s := x.Stats(); s.Bytes != 0 {
			t.Errorf("%d bytes are in flight after Run", s.Bytes)
		}
	})
}
