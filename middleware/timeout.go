package middleware

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/runtime"
)

// Timeout bounds what is inside of it: after d its context is cancelled, with
// [runtime.ErrTimeout] as the cause, and an error that it then returns is of
// class timeout. d is positive.
//
// It waits for the handler to return, however long that takes: a handler that
// goes on after its cancellation keeps its slot, so that there are never more
// handlers running than Concurrency says. A handler that returns nil after the
// time has succeeded.
//
// Use [runtime.Options].Timeout to bound the whole attempt; use this one for the
// part that the other middleware is not to be counted into.
func Timeout(d time.Duration) runtime.Middleware {
	var f faults
	f.check(d > 0, "Timeout", d, "must be positive; leave the middleware out for no limit")
	return runtime.Middleware{
		Name:   "timeout",
		Unique: true,
		Err:    f.err(),
		Wrap: func(next runtime.Handler) runtime.Handler {
			return func(ctx context.Context, m *broker.Delivery) error {
				limited, cancel := runtime.WithTimeout(ctx, d)
				defer cancel()
				err := next(limited, m)
				if err == nil || !timedOut(limited, ctx) {
					return err
				}
				return asTimeout(err, d)
			}
		},
	}
}

// timedOut says whether it was the inner context's own time that ended it.
func timedOut(inner, outer context.Context) bool {
	return errors.Is(context.Cause(inner), runtime.ErrTimeout) && outer.Err() == nil
}

// asTimeout makes err a timeout, whatever the handler made of the cancellation.
// An explicit outcome stays what it is.
func asTimeout(err error, d time.Duration) error {
	if _, explicit := errors.AsType[*runtime.Outcome](err); explicit {
		return err
	}
	return failure.Timeout(fmt.Errorf("handler did not finish within %s: %w", d, err))
}
