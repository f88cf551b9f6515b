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

// A nil error acknowledges the message, once.
func TestHandledMessageIsAcked(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		var seen record
		x := w.run(func(_ context.Context, d *broker.Delivery) error {
			seen.add("%s #%d", d.Body, d.Attempt)
			return nil
		}, runtime.Options{})
		w.publish(body("a"), body("b"))
		settleDown(time.Second)
		if got := seen.count(); got != 2 {
			t.Errorf("handled %d, want 2: %v", got, seen.all())
		}
		if err := x.shutdown(); err != nil {
			t.Error(err)
		}
		x.wantLedger(runtime.Ledger{Acked: 2})
		w.wantLeft(0, 0)
	})
}

// A failure is retried with the policy's backoff until the budget is spent, and
// then the message is dead-lettered with its record.
func TestFailingMessageIsTriedExactlyMaxAttemptsTimesAndDeadLettered(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		var seen record
		start := time.Now()
		x := w.run(func(_ context.Context, d *broker.Delivery) error {
			seen.add("#%d at %s", d.Attempt, time.Since(start))
			return errors.New("no luck")
		}, runtime.Options{Retry: runtime.RetryPolicy{MaxAttempts: 4, Backoff: noJitter}})
		w.publish(body("a"))
		settleDown(time.Hour)
		want := []string{"#1 at 0s", "#2 at 1s", "#3 at 3s", "#4 at 7s"}
		if got := seen.all(); !equal(got, want) {
			t.Errorf("attempts %v, want %v", got, want)
		}
		x.wantLedger(runtime.Ledger{Retried: 3, DeadLettered: 1})
		_, dead := w.left()
		if len(dead) != 1 || dead[0].Failure == nil {
			t.Fatalf("dead letters: %+v", dead)
		}
		if r := dead[0].Failure; r.Count != 4 || r.Class != failure.ClassUnclassified || len(r.Attempts) != 4 || r.Source != "jobs" {
			t.Errorf("record %+v", r)
		}
	})
}

// A panic fails its attempt with class bug and a stack, and harms nothing else.
func TestPanicBecomesAFailureWithItsStack(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		x := w.run(func(_ context.Context, d *broker.Delivery) error {
			if string(d.Body) == "bad" {
				panic("boom")
			}
			return nil
		}, runtime.Options{Concurrency: 1})
		w.publish(body("bad"), body("good"))
		settleDown(time.Hour)
		x.wantLedger(runtime.Ledger{Acked: 1, Retried: 2, DeadLettered: 1})
		_, dead := w.left()
		if len(dead) != 1 || dead[0].Failure.Class != failure.ClassBug || dead[0].Failure.Stack == "" {
			t.Errorf("dead letters: %+v", dead)
		}
	})
}

// A handler that ends its goroutine fails its attempt; the worker is replaced.
func TestGoexitIsAFailureAndTheWorkerIsReplaced(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		x := w.run(func(_ context.Context, d *broker.Delivery) error {
			if string(d.Body) == "bad" {
				goexit()
			}
			return nil
		}, runtime.Options{Concurrency: 1})
		w.publish(body("bad"), body("good"))
		settleDown(time.Hour)
		x.wantLedger(runtime.Ledger{Acked: 1, Retried: 2, DeadLettered: 1})
		if err := x.shutdown(); err != nil {
			t.Error(err)
		}
	})
}

// Classes have policies of their own: format and data are dead-lettered at once.
func TestFormatAndDataAreDeadLetteredAtOnce(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		x := w.run(func(_ context.Context, d *broker.Delivery) error {
			if string(d.Body) == "format" {
				return failure.Format(errors.New("garbled"))
			}
			return failure.Data(errors.New("cancelled already"))
		}, runtime.Options{})
		w.publish(body("format"), body("data"))
		settleDown(time.Second)
		x.wantLedger(runtime.Ledger{DeadLettered: 2})
	})
}

// Outcomes do what they say, also when wrapped.
func TestOutcomesAreObeyedThroughWrapping(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		var seen record
		start := time.Now()
		wrap := func(err error) error { return errors.Join(errors.New("context"), err) }
		x := w.run(func(_ context.Context, d *broker.Delivery) error {
			seen.add("%s #%d at %s", d.Body, d.Attempt, time.Since(start))
			first := time.Since(start) == 0
			switch string(d.Body) {
			case "drop":
				return wrap(runtime.Drop("obsolete"))
			case "dead":
				return wrap(runtime.DeadLetter(errors.New("hopeless")))
			case "retry":
				if first {
					return wrap(runtime.RetryAfter(7*time.Second, errors.New("busy")))
				}
			case "release":
				if first {
					return wrap(runtime.Release(5*time.Minute, "not yet"))
				}
			}
			return nil
		}, runtime.Options{Concurrency: 1})
		w.publish(body("drop"), body("dead"), body("retry"), body("release"))
		settleDown(time.Hour)
		want := []string{
			"drop #1 at 0s", "dead #1 at 0s", "retry #1 at 0s", "release #1 at 0s",
			"retry #2 at 7s", "release #1 at 5m0s",
		}
		if got := seen.all(); !equal(got, want) {
			t.Errorf("got %v\nwant %v", got, want)
		}
		x.wantLedger(runtime.Ledger{Acked: 3, Dropped: 1, DeadLettered: 1, Retried: 1, Released: 1})
	})
}
