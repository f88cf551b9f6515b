package runtime

import (
	"context"
	"errors"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/telemetry"
)

// The pause after a failed Receive: the adapter reconnects by itself, this only
// keeps the loop from spinning.
const (
	firstReceivePause = 50 * time.Millisecond
	maxReceivePause   = 5 * time.Second
)

// fetch asks the broker for what free slots can take, until ctx ends (nil) or
// the broker says something final.
func (c *Consumer) fetch(ctx context.Context) error {
	pause := firstReceivePause
	var broken error // what the last Receive failed with
	for {
		credit, ok := c.awaitCredit(ctx)
		if !ok {
			return nil
		}
		err := c.receiveOnce(ctx, credit)
		switch {
		case err == nil:
			if broken != nil { // the broker is back
				c.tel.Reconnected(telemetry.ErrorType(broken))
				broken = nil
			}
			pause = firstReceivePause
			c.health.received(nil, c.now())
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the end of ctx is why it failed, and no fault
		case broker.FinalReceive(err):
			c.health.received(err, c.now())
			return err
		default:
			if c.health.received(err, c.now()) {
				c.log.Warn("receive failed; trying again", "queue", c.cap.Source, "error", err)
			}
			broken = err
			if !wait(ctx, pause) {
				return nil
			}
			pause = min(2*pause, maxReceivePause)
		}
	}
}

// errNothing keeps an adapter that does not block from making fetch spin.
var errNothing = errors.New("the adapter returned neither a delivery nor an error")

// receiveOnce makes one call and puts what it brings in flight. The end of a call
// that was paused is no error.
func (c *Consumer) receiveOnce(ctx context.Context, credit broker.Credit) error {
	ctx, over, ok := c.pause.receiving(ctx)
	if !ok {
		return nil
	}
	defer over()
	began := c.now()
	c.health.receive(began)
	deliveries, err := c.sub.Receive(ctx, credit)
	paused := ctx.Err() != nil && c.pause.on()
	if len(deliveries) > 0 {
		c.receive(deliveries, paused)
	}
	if paused && !broker.FinalReceive(err) {
		return nil
	}
	if err == nil && len(deliveries) == 0 {
		err = errNothing
	}
	c.tel.ReceiveCall(ctx, c.now()-began, err)
	return err
}

// awaitCredit blocks until something may be received; false when ctx ended.
func (c *Consumer) awaitCredit(ctx context.Context) (broker.Credit, bool) {
	for {
		if ctx.Err() != nil {
			return broker.Credit{}, false
		}
		if credit := c.flight.takeCredit(); credit.Messages > 0 && !c.pause.on() {
			return credit, true
		}
		select {
		case <-ctx.Done():
		case <-c.flight.wakeup.fetch:
		}
	}
}

// takeCredit is what may be received now; none while it is worth waiting for
// more, and then fetch is woken when there is some.
func (f *flight) takeCredit() broker.Credit {
	f.mu.Lock()
	defer f.mu.Unlock()
	credit := f.credit()
	f.hungry = credit.Messages == 0
	return credit
}

// offerCredit wakes fetch if it waits for credit and there is some. Lock held.
func (f *flight) offerCredit() {
	if f.hungry && f.credit().Messages > 0 {
		f.hungry = false
		notify(f.wakeup.fetch)
	}
}

// credit weighs what is in flight against its bounds. Lock held.
func (f *flight) credit() broker.Credit {
	buffered := f.buffered()
	want := f.workers.limit*max(f.batch.size, 1) + buffered - f.states[stateRunning] - f.states[stateReady]
	n := min(want, f.limit-f.inFlight())
	bytes := f.maxBytes - f.bytes
	if n <= 0 || bytes <= 0 {
		return broker.Credit{}
	}
	// Nothing is ready: ask at once. Otherwise only the buffer is to be refilled,
	// and asking for a message at a time would cost a round trip for each.
	if f.ready.n > 0 && n < (buffered+1)/2 {
		return broker.Credit{}
	}
	return broker.Credit{Messages: n, Bytes: bytes}
}

// receive turns deliveries into tasks and puts them in flight, or gives them back.
func (c *Consumer) receive(deliveries []broker.Delivery, giveBack bool) {
	now := c.now()
	wall := time.Now()
	tasks := make([]task, len(deliveries))
	for i := range deliveries {
		d, t := &deliveries[i], &tasks[i]
		if d.Message == nil {
			d.Message = &broker.Message{} // against the contract, and no reason to die
		}
		t.d, t.msg, t.size = d, d.Message, d.Size()
		t.base, t.record = max(d.Attempt, 1), d.Failure
		t.attempt = t.base
		t.received = now
		t.lease.t, t.alarm.t = t, t
		c.leaseOf(t, now, wall)
		c.atReceipt(t, wall)
	}
	if c.flight.add(tasks, giveBack, now) {
		c.sessions.watch(deliveries)
	}
}

// wait pauses for d; false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
