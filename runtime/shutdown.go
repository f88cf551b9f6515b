package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// shutdown lands what is in flight. ctx is for calls of the adapter. While
// fetching is true, a Receive is still under way and fetched will tell when it
// has ended.
func (c *Consumer) shutdown(ctx context.Context, fetched <-chan error, fetching bool) error {
	f := c.flight
	f.drain()

	// Running handlers have until DrainTimeout.
	patience := time.NewTimer(max(c.opt.DrainTimeout, 0))
	defer patience.Stop()
	idle := c.awaitDrain(f.wakeup.idle, patience.C, c.hurry, f.isIdle)

	if !idle {
		c.cancelRunning()
		patience.Reset(c.opt.StopTimeout)
		c.awaitDrain(f.wakeup.idle, patience.C, nil, f.isIdle)
	}
	patience.Reset(c.opt.StopTimeout)
	var unsettled error
	if fetching && !c.awaitFetch(fetched, patience.C) {
		unsettled = fmt.Errorf("runtime: consumer %q: a receive did not return within %s of its cancellation", c.opt.Name, c.opt.StopTimeout)
	}
	stuck := c.abandonStuck()
	if !c.awaitDrain(f.wakeup.empty, patience.C, nil, f.isEmpty) {
		n := c.abandonUnsettled()
		unsettled = errors.Join(unsettled, fmt.Errorf(
			"runtime: consumer %q: %d outcomes could not be settled within %s; those messages will be delivered again", c.opt.Name, n, c.opt.StopTimeout))
	}
	f.stop()
	if stuck == nil {
		c.workers.Wait()
	}
	closing, cancel := context.WithTimeout(ctx, c.opt.StopTimeout)
	defer cancel()
	if err := c.sub.Close(closing); err != nil {
		unsettled = errors.Join(unsettled, fmt.Errorf("runtime: consumer %q: close: %w", c.opt.Name, err))
	}
	return errors.Join(stuck, unsettled)
}

// awaitDrain waits for a condition that is signalled; false when the time or the
// patience of whoever stops us is over.
func (c *Consumer) awaitDrain(signal <-chan struct{}, timeout <-chan time.Time, hurry <-chan struct{}, reached func() bool) bool {
	for !reached() {
		select {
		case <-signal:
		case <-timeout:
			return reached()
		case <-hurry:
			return reached()
		}
	}
	return true
}

func (c *Consumer) awaitFetch(fetched <-chan error, timeout <-chan time.Time) bool {
	select {
	case <-fetched: //nolint:errcheck // how it ended does not matter any more
		return true
	case <-timeout:
		return false
	}
}

func (f *flight) isIdle() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.workers.running == 0
}

func (f *flight) isEmpty() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all.first == nil
}

// stop lets the workers leave.
func (f *flight) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
	f.workers.wakeAll()
}

// cancelRunning cancels every running attempt with ErrShutdown.
func (c *Consumer) cancelRunning() {
	f := c.flight
	now := c.now()
	var running []*attempt
	f.mu.Lock()
	for t := f.all.first; t != nil; t = t.after {
		if t.state == stateRunning {
			running = append(running, t.running)
			if t.stuckAt == 0 {
				t.stuckAt = now
			}
		}
	}
	f.mu.Unlock()
	for _, a := range running {
		a.cancel(ErrShutdown)
	}
}

// abandonStuck gives up on handlers that run although they were cancelled. Their
// messages are not settled: nobody knows what the handler still does, and giving
// them back would let a second worker run beside it.
func (c *Consumer) abandonStuck() error {
	f := c.flight
	now := c.now()
	var stuck []*task
	f.mu.Lock()
	for t := f.all.first; t != nil; {
		after := t.after
		if t.state == stateRunning {
			stuck = append(stuck, t)
			f.lose(t, broker.ErrLeaseLost, lostStuck, now)
			f.doneLost(t, now)
		}
		t = after
	}
	f.mu.Unlock()
	if len(stuck) == 0 {
		return nil
	}
	c.leasesLost(nil)
	for _, t := range stuck {
		c.log.Error("handler is stuck: it ignored its cancellation and is left behind",
			"queue", t.d.Source, "message_id", t.d.ID, "attempt", t.d.Attempt, "running_for", t.timeSpent(now))
	}
	return fmt.Errorf("runtime: consumer %q: %w: %d ignored their cancellation, the first on message %s; pass ctx to everything that blocks",
		c.opt.Name, ErrStuck, len(stuck), stuck[0].d.ID)
}

// abandonUnsettled gives up on outcomes that could not be settled in time.
func (c *Consumer) abandonUnsettled() int {
	f := c.flight
	now := c.now()
	n := 0
	f.mu.Lock()
	for t := f.all.first; t != nil; {
		after := t.after
		n++
		f.lose(t, broker.ErrLeaseLost, lostExpired, now)
		if t.state != stateDone {
			f.doneLost(t, now)
		}
		t = after
	}
	f.mu.Unlock()
	c.leasesLost(nil)
	return n
}
