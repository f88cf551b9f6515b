package rabbit

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/internal/faultlab"
	"github.com/anyqueue/anyqueue/runtime"
)

// A handler that is slower than the acknowledgement timeout is cancelled before it,
// and its message is retried with class timeout: the channel, and with it the
// leases of all others, stay as they are.
func TestSlowHandlerIsCancelledBeforeTheAcknowledgementTimeout(t *testing.T) {
	t.Parallel()
	const timeout = 5 * time.Second
	var cancelled atomic.Int64
	f := newFlow(t, faultlab.Need(t, lines["3"]), func(f *flow) {
		f.settings.AckTimeout = timeout
		f.work = func(ctx context.Context, d *broker.Delivery) error {
			if string(d.Body) != "1001" || d.Attempt > 1 {
				return nil
			}
			<-ctx.Done()
			if late := time.Since(d.LeaseUntil); late >= 0 || !errors.Is(context.Cause(ctx), runtime.ErrTimeout) {
				t.Errorf("cancelled %s after the timeout with %v", late, context.Cause(ctx))
			}
			cancelled.Add(1)
			return ctx.Err()
		}
	})
	f.start()
	f.during(func() { f.await("the slow handler is cancelled", func() bool { return cancelled.Load() > 0 }) })
	f.finish()
	if cancelled.Load() != 1 {
		t.Errorf("%d handlers were cancelled, want 1", cancelled.Load())
	}
	if n := f.consumer.Stats().Failures[failure.ClassTimeout].Retried; n != 1 {
		t.Errorf("%d retries of class timeout, want 1", n)
	}
	if n := f.sessionsSeen(); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

// A server whose consumer_timeout is shorter than what was configured closes the
// channel under a slow handler: that is told its lease is lost, and the consumer
// goes on with another channel.
func TestConsumerTimeoutOfTheServerCostsTheChannelAlone(t *testing.T) {
	server := faultServer(t)
	eval := func(expression string) {
		if out, err := server.Ctl(context.WithoutCancel(t.Context()), "eval", expression); err != nil || !strings.Contains(out, "ok") {
			t.Errorf("%s: %s, %v", expression, out, err)
		}
	}
	t.Cleanup(func() {
		eval("application:set_env(rabbit, consumer_timeout, 1800000), application:set_env(rabbit, channel_tick_interval, 60000).")
	})
	eval("application:set_env(rabbit, consumer_timeout, 3000), application:set_env(rabbit, channel_tick_interval, 1000).")
	var lost atomic.Int64
	f := newFlow(t, server.Env("URL"), func(f *flow) {
		f.work = func(ctx context.Context, d *broker.Delivery) error {
			if string(d.Body) != "1001" || d.Abandoned > 0 {
				return nil
			}
			select {
			case <-ctx.Done():
			case <-time.After(30 * time.Second):
			}
			if !errors.Is(context.Cause(ctx), broker.ErrLeaseLost) {
				t.Errorf("the slow handler ended with %v", context.Cause(ctx))
			}
			lost.Add(1)
			return ctx.Err()
		}
	})
	f.mayRepeat(1, "consumer_timeout")
	f.start()
	f.during(func() { f.await("the lease is lost", func() bool { return lost.Load() > 0 }) })
	f.finish()
	if lost.Load() != 1 || f.sessionsSeen() != 2 {
		t.Errorf("%d leases of the slow handler were lost, on %d sessions, want 1 and 2", lost.Load(), f.sessionsSeen())
	}
}
