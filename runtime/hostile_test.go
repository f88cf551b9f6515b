package runtime_test

import (
	"context"
	"io/fs"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

// Errors whose methods do what no error's should.
type (
	panicsInError  struct{}
	panicsInAs     struct{}
	panicsInUnwrap struct{}
	wrapsItself    struct{}
	joinsItself    struct{}
)

func (panicsInError) Error() string { panic("Error panics") }

func (panicsInAs) Error() string { return "a bad As" }
func (panicsInAs) As(any) bool   { panic("As panics") }

func (panicsInUnwrap) Error() string { return "a bad Unwrap" }
func (panicsInUnwrap) Unwrap() error { panic("Unwrap panics") }

func (wrapsItself) Error() string   { return "a circle" }
func (e wrapsItself) Unwrap() error { return e }

func (joinsItself) Error() string     { return "two circles" }
func (e joinsItself) Unwrap() []error { return []error{e, e} }

// hostileErrors are what a handler can return by mistake. A typed nil is an error
// that is not nil and whose methods may panic.
var hostileErrors = map[string]error{
	"typed nil of another package": (*fs.PathError)(nil),
	"typed nil outcome":            (*runtime.Outcome)(nil),
	"Error panics":                 panicsInError{},
	"As panics":                    panicsInAs{},
	"Unwrap panics":                panicsInUnwrap{},
	"wraps itself":                 wrapsItself{},
	"joins itself":                 joinsItself{},
}

// A worker survives whatever error a handler returns: the message fails like any
// other, and the next one is handled.
func TestHandlerErrorWithPanickingMethodsIsADeadLetterNotACrash(t *testing.T) {
	for name, hostile := range hostileErrors {
		t.Run(name, func(t *testing.T) {
			inWorld(t, memory.Queue{}, func(w *world) {
				x := w.run(func(_ context.Context, d *broker.Delivery) error {
					if string(d.Body) == "bad" {
						return hostile
					}
					return nil
				}, runtime.Options{Concurrency: 1, Retry: runtime.RetryPolicy{MaxAttempts: 1}})
				w.publish(body("bad"), body("good"))
				settleDown(time.Minute)
				x.wantLedger(runtime.Ledger{Acked: 1, DeadLettered: 1})
				w.wantLeft(0, 1)
			})
		})
	}
}

// The same holds for what a batch handler returns for one item.
func TestItemErrorWithPanickingMethodsFailsItsItemAlone(t *testing.T) {
	for name, hostile := range hostileErrors {
		t.Run(name, func(t *testing.T) {
			inWorld(t, memory.Queue{}, func(w *world) {
				x := w.runBatch(func(context.Context, []*broker.Delivery) error {
					var failed *runtime.BatchError
					return failed.Fail(0, hostile).Err()
				}, runtime.Options{BatchSize: 2, Retry: runtime.RetryPolicy{MaxAttempts: 1}})
				w.publish(body("bad"), body("good"))
				settleDown(time.Minute)
				x.wantLedger(runtime.Ledger{Acked: 1, DeadLettered: 1})
			})
		})
	}
}

// And for what it returns for all of them.
func TestBatchErrorWithPanickingMethodsFailsEveryItem(t *testing.T) {
	for name, hostile := range hostileErrors {
		t.Run(name, func(t *testing.T) {
			inWorld(t, memory.Queue{}, func(w *world) {
				x := w.runBatch(func(context.Context, []*broker.Delivery) error { return hostile },
					runtime.Options{BatchSize: 2, Retry: runtime.RetryPolicy{MaxAttempts: 1}})
				w.publish(body("a"), body("b"))
				settleDown(time.Minute)
				x.wantLedger(runtime.Ledger{DeadLettered: 2})
			})
		})
	}
}

// What a handler does to its delivery's message changes nothing about how the
// delivery is settled.
func TestHandlerThatTakesItsMessageAwayIsSettledAllTheSame(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		x := w.run(func(_ context.Context, d *broker.Delivery) error {
			dead := string(d.Body) == "dead"
			d.Message = nil
			if dead {
				return runtime.DeadLetter(nil)
			}
			return nil
		}, runtime.Options{})
		w.publish(body("done"), body("dead"))
		settleDown(time.Second)
		x.wantLedger(runtime.Ledger{Acked: 1, DeadLettered: 1})
		if _, dead := w.left(); len(dead) != 1 || string(dead[0].Message.Body) != "dead" {
			t.Errorf("dead letters: %+v", dead)
		}
	})
}
