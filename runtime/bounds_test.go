package runtime_test

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

// "No limit", written as the longest duration there is, is one.
func TestLongestDurationsInTheOptionsMeanNoLimit(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		x := w.run(func(context.Context, *broker.Delivery) error {
			time.Sleep(2 * time.Hour)
			return nil
		}, runtime.Options{
			MaxLease: math.MaxInt64, DrainTimeout: math.MaxInt64, StopTimeout: math.MaxInt64, StallAfter: math.MaxInt64,
			StatsEvery: math.MaxInt64, Retry: runtime.RetryPolicy{MaxElapsed: math.MaxInt64},
		})
		settleDown(10 * time.Second) // the sum of now and the longest would overflow
		w.publish(body("a"))
		settleDown(time.Hour)
		if err := x.shutdown(); err != nil { // waits for the handler
			t.Error(err)
		}
		x.wantLedger(runtime.Ledger{Acked: 1})
	})
}

// A handler that asks for the longest wait there is gets the longest that there
// can be, wherever it is waited.
func TestLongestWaitThatAHandlerAsksForIsWaited(t *testing.T) {
	never := errors.New("not in this life")
	for name, c := range map[string]struct {
		without memory.Without
		answer  error
	}{
		"a release at the broker": {memory.Without{}, runtime.Release(math.MaxInt64, "not in this life")},
		"a release that is held":  {memory.Without{FreeRelease: true}, runtime.Release(math.MaxInt64, "not in this life")},
		"a retry at the broker":   {memory.Without{}, runtime.RetryAfter(math.MaxInt64, never)},
		"a retry that is held":    {memory.Without{Delay: true}, runtime.RetryAfter(math.MaxInt64, never)},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, memory.Queue{Without: c.without}, func(w *world) {
				const enough = 10_000 // where it does spin, no time passes and the test would not end
				var runs atomic.Int64
				w.run(func(context.Context, *broker.Delivery) error {
					if runs.Add(1) > enough {
						return nil
					}
					return c.answer
				}, runtime.Options{})
				settleDown(time.Second)
				w.publish(body("a"))
				settleDown(30 * time.Minute)
				if n := runs.Load(); n != 1 {
					t.Errorf("%d runs in half an hour, want 1", n)
				}
			})
		})
	}
}
