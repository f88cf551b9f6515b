package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// shutdown lands what is in flight. ctx is for calls of the adapter, and for the
// deadlines of the phases. While fetching is true, a Receive is still under way
// and fetched will tell when it has ended.
func (c *Consumer) shutdown(ctx context.Context, fetched <-chan error, fetching bool) error {
	f := c.flight
	f.drain()

	// Running handlers have until DrainTimeout, or until we are told to hurry.
	drain, done := context.WithTimeout(ctx, max(c.opt.DrainTimeout, 0))
	defer done()
	defer context.AfterFunc(c.hurry, done)() //nolint:contextcheck // another's wish to end it sooner
	if !reached(drain, f.wakeup.idle, f.isIdle) {
		c.cancelRunning()
		stop, done := context.WithTimeout(ctx, c.opt.StopTimeout)
		defer done()
		reached(stop, f.wakeup.idle, f.isIdle)
	}

	// What is left is waiting for the broker.
	landing, done := context.WithTimeout(ctx, c.opt.StopTimeout)
	defer done()
	var faults []error
	if fetching {
		select {
		case <-fetched: // how it ended does not matter any more
		case <-landing.Done():
			faults = append(faults, fmt.Errorf("a receive did not return within %s of its cancellation", c.opt.StopTimeout))
		}
	}
	stuck := c.abandonStuck()
	if stuck != nil {
		faults = append(faults, stuck)
	}
	if !reached(landing, f.wakeup.empty, f.isEmpty) {
		n := c.abandonUnsettled()
		faults = append(faults, fmt.Errorf("%d outcomes could not be settled within %s; those messages will be delivered again", n, c.opt.StopTimeout))
	}
	f.stop()
	if stuck == nil {
		c.workers.Wait()
	}
	closing, done := context.WithTimeout(ctx, c.opt.StopTimeout)
	defer done()
	closed := make(chan error, 1)
	if within(ctx, 2*c.opt.StopTimeout, func() { closed <- c.sub.Close(closing) }) {
		if err := <-closed; err != nil {
			faults = append(faults, fmt.Errorf("close: %w", err))
		}
	} else {
		faults = append(faults, fmt.Errorf("close did not return within %s", 2*c.opt.StopTimeout))
	}
	for i, err := range faults {
		faults[i] = fmt.Errorf("runtime: consumer %q: %w", c.opt.Name, err)
	}
	return errors.Join(faults...)
}

// within runs f and waits for it for d at the most; false when it goes on. It is
// for calls of adapters, which should return in time and may not.
func within(ctx context.Context, d time.Duration, f func()) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// reached waits until a condition that is signalled holds; false when ctx ended
// first.
func reached(ctx context.Context, signal <-chan struct{}, condition func() bool) bool {
	for !condition() {
		select {
		case <-signal:
		case <-ctx.Done():
			return condition()
		}
	}
	return true
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
	var running []*attempt
	f.mu.Lock()
	for t := f.all.first; t != nil; t = t.after {
		if t.state == stateRunning {
			running = append(running, t.running)
			t.ended = true
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
			"queue", t.d.Source, "message_id", t.msg.ID, "attempt", t.d.Attempt, "running_for", t.timeSpent(now))
	}
	return fmt.Errorf("%w: %d ignored their cancellation, the first on message %s; pass ctx to everything that blocks",
		ErrStuck, len(stuck), stuck[0].msg.ID)
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
