package middleware_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/middleware"
	"github.com/anyqueue/anyqueue/runtime"
)

// The handler's context ends after the time, with the cause that says so, and
// the failure is a timeout whatever the handler made of it.
func TestTimeoutCancelsTheHandlerAndClassifiesItsFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := wrap(t, func(ctx context.Context, _ *broker.Delivery) error {
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), runtime.ErrTimeout) {
				t.Errorf("cause = %v, want ErrTimeout", context.Cause(ctx))
			}
			return errHandler
		}, middleware.Timeout(time.Second))
		start := time.Now()
		err := h(t.Context(), message("1", ""))
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v, want 1s", took)
		}
		wantClass(t, err, failure.ClassTimeout)
		if !errors.Is(err, errHandler) {
			t.Errorf("%v hides the handler's error", err)
		}
	})
}

// The slot is not freed while the handler still runs.
func TestTimeoutWaitsForAHandlerThatIgnoresIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running := false
		h := wrap(t, func(context.Context, *broker.Delivery) error {
			running = true
			time.Sleep(time.Hour)
			running = false
			return nil
		}, middleware.Timeout(time.Second))
		if err := h(t.Context(), message("1", "")); err != nil {
			t.Errorf("a handler that succeeded late failed: %v", err)
		}
		if running {
			t.Error("returned while the handler runs")
		}
	})
}

// A failure within the time, an outer cancellation and an explicit outcome stay
// what they are.
func TestTimeoutLeavesOtherFailuresAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := middleware.Timeout(time.Second)
		err := wrap(t, returns(errHandler), limit)(t.Context(), message("1", ""))
		if err != errHandler {
			t.Errorf("within the time: %v", err)
		}

		outer, cancel := context.WithCancelCause(t.Context())
		cancel(broker.ErrLeaseLost)
		err = wrap(t, func(ctx context.Context, _ *broker.Delivery) error {
			<-ctx.Done()
			return errHandler
		}, limit)(outer, message("1", ""))
		if err != errHandler {
			t.Errorf("cancelled from outside: %v", err)
		}

		err = wrap(t, func(ctx context.Context, _ *broker.Delivery) error {
			<-ctx.Done()
			return runtime.Release(time.Minute, "not now")
		}, limit)(t.Context(), message("1", ""))
		wantReleased(t, err, time.Minute, time.Minute)
		if failure.Classify(err) == failure.ClassTimeout {
			t.Errorf("an explicit outcome became %v", err)
		}
	})
}

// A time that is not positive is a fault of the constructor.
func TestTimeoutThatIsNotPositiveIsAFault(t *testing.T) {
	wantFaults(t, middleware.Timeout(0).Err, "Timeout")
	wantFaults(t, middleware.Timeout(-time.Second).Err, "Timeout")
}
