package runtime

import (
	"context"
	"fmt"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// Why a lease was lost, as a metric's attribute.
const (
	lostExpired = "expired" // it ran out: extending failed, or nobody could extend it
	lostRefused = "refused" // the broker says that it is not ours any more
	lostSession = "session" // the connection or the assignment it lived on is gone
	lostStuck   = "stuck"   // the handler outlived the consumer
)

// leaseOf notes when t's lease ends, when it must be looked at, and beyond which
// point it is not extended.
func (c *Consumer) leaseOf(t *task, now time.Duration, wall time.Time) {
	t.leaseCap = now + c.opt.MaxLease
	limit := t.leaseCap
	if !t.d.LeaseUntil.IsZero() {
		t.leaseLen = min(t.d.LeaseUntil.Sub(wall), maxDuration)
		t.leaseEnd = max(now+t.leaseLen, 1) // 0 would mean that it never ends
		t.lease.at = c.flight.nextLook(t)
		if !c.cap.Extends {
			limit = min(limit, t.leaseEnd)
		}
	}
	t.leaseLimit = limit - leaseMargin(limit-now)
}

// nextLook is when the keeper must act on t: extend it while a third of the lease
// remains, or else take the consequences a margin before it ends.
func (f *flight) nextLook(t *task) time.Duration {
	if f.extends && t.leaseEnd < t.leaseCap {
		return t.leaseEnd - t.leaseLen/3
	}
	return t.leaseEnd - leaseMargin(t.leaseLen)
}

// keep watches over all leases, whatever state their tasks are in, until stop is
// closed. It never calls the broker, so that no slow call can keep it from
// noticing that another lease has run out; extending is extend's.
func (c *Consumer) keep(stop <-chan struct{}) {
	f := c.flight
	alarmClock(stop, f.wakeup.lease, func() time.Duration {
		now := c.now()
		var lost, overdue []*attempt
		f.mu.Lock()
		for x := f.leases.first(); x != nil && x.at <= now; x = f.leases.first() {
			switch a := f.look(x.t, now); {
			case a == nil:
			case a.t.lost != nil:
				lost = append(lost, a)
			default:
				overdue = append(overdue, a)
			}
		}
		next := untilFirst(f.leases, now)
		f.mu.Unlock()
		c.leasesLost(lost)
		for _, a := range overdue {
			a.cancel(ErrTimeout)
		}
		return next
	})
}

// look acts on a lease that is due. It returns an attempt to cancel, because its
// lease is lost or about to end. Lock held.
func (f *flight) look(t *task, now time.Duration) *attempt {
	margin := leaseMargin(t.leaseLen)
	extendable := f.extends && t.leaseEnd < t.leaseCap
	switch {
	case now < t.leaseEnd-margin && extendable:
		if !t.extending {
			t.extending = true
			f.extending = append(f.extending, t)
			notify(f.wakeup.extend)
		}
		f.leases.set(&t.lease, t.leaseEnd-margin) // whatever becomes of the call
	case now < t.leaseEnd && !extendable:
		// Its end was foreseen: the attempt's deadline is now, and what has no
		// worker goes back while it still can.
		f.leases.set(&t.lease, t.leaseEnd)
		if t.state == stateRunning && now < t.leaseLimit {
			t.ended = true
			return t.running // the broker's cap came earlier than its capabilities say
		}
		f.giveBackInTime(t)
	default:
		return f.lose(t, fmt.Errorf("%w: it ran out", broker.ErrLeaseLost), lostExpired, now)
	}
	return nil
}

// giveBackInTime releases t, if it has no worker, because its lease is about to
// end. Lock held.
func (f *flight) giveBackInTime(t *task) {
	switch t.state {
	case stateReady:
		f.ready.remove(t)
	case stateBlocked:
		f.cut(t)
	case stateHeld:
		f.alarms.remove(&t.alarm)
	case stateRunning, stateSettling, stateDone, stateCount:
		return
	}
	f.giveBack(t)
	f.giveBackFollowers(t)
}

// extend carries out the extensions that the keeper asks for, in batches, until
// stop is closed. A failed call is no loss: it is tried again until the lease is
// about to end.
func (c *Consumer) extend(ctx context.Context, stop <-chan struct{}) {
	f := c.flight
	failing := false // the last call did; the first of a row is logged
	for {
		select {
		case <-stop:
			return
		case <-f.wakeup.extend:
		}
		for {
			now := c.now()
			f.mu.Lock()
			batch, by := f.takeExtensions(c.cap.Lease, max(c.cap.MaxExtend, 1), now)
			patience := by
			ds := make([]*broker.Delivery, 0, len(batch))
			for _, t := range batch {
				ds = append(ds, t.d)
				// So that a call that hangs leaves time for another.
				patience = min(patience, (t.leaseEnd-leaseMargin(t.leaseLen)-now)/3)
			}
			f.mu.Unlock()
			if len(batch) == 0 {
				break
			}
			bad, err := c.extendBatch(ctx, batch, ds, by, patience, now)
			if bad && !failing {
				c.log.Warn("extending leases failed; it is tried again until they end", "queue", c.cap.Source, "error", err)
			}
			failing = bad
		}
	}
}

// takeExtensions takes what may be extended by the same time in one call. Lock
// held.
func (f *flight) takeExtensions(lease time.Duration, most int, now time.Duration) (batch []*task, by time.Duration) {
	for len(batch) < most && len(f.extending) > 0 {
		t := f.extending[0]
		if t.state == stateDone || t.lost != nil {
			f.extending = f.extending[1:]
			continue
		}
		full := lease
		if full == 0 {
			full = t.leaseLen
		}
		if d := min(full, t.leaseCap-now); len(batch) == 0 {
			by = d
		} else if d != by {
			break
		}
		batch = append(batch, t)
		f.extending = f.extending[1:]
	}
	if len(f.extending) == 0 {
		f.extending = nil
	}
	return batch, by
}

// extendBatch makes one call, asked for at a time on the consumer's clock. It says
// whether a lease could not be extended that may be yet.
func (c *Consumer) extendBatch(
	ctx context.Context, batch []*task, ds []*broker.Delivery, by, patience, asked time.Duration,
) (failed bool, err error) {
	f := c.flight
	call, cancel := context.WithTimeout(ctx, max(patience, time.Millisecond))
	err = c.sub.Extend(call, ds, by)
	cancel()

	errs := elementErrors(err, len(batch))
	now := c.now()
	var lost []*attempt
	var extended, refused int
	f.mu.Lock()
	for i, t := range batch {
		t.extending = false
		if t.state == stateDone || t.lost != nil {
			continue
		}
		switch e := errs.at(i); {
		case e == nil:
			extended++
			t.leaseEnd, t.leaseLen = max(t.leaseEnd, asked+by), by
			f.leases.set(&t.lease, f.nextLook(t))
		case failure.Is(e, broker.ErrUnsupported): // beyond its cap: it ends as it stands
			t.leaseCap = t.leaseEnd
			f.leases.set(&t.lease, f.nextLook(t))
		case failure.Is(e, broker.ErrLeaseLost):
			if a := f.lose(t, e, lostRefused, now); a != nil {
				lost = append(lost, a)
			}
		default:
			refused++
			// Again after a pause, several times before the margin begins.
			again := min(now+t.leaseLen/15, t.leaseEnd-leaseMargin(t.leaseLen))
			f.leases.set(&t.lease, max(again, now+time.Millisecond))
		}
	}
	notify(f.wakeup.lease)
	f.mu.Unlock()
	c.tel.LeaseExtended(extended)
	c.leasesLost(lost)
	return refused > 0, err
}

// leasesLost reports what lose has counted, and cancels the attempts whose lease
// is gone.
func (c *Consumer) leasesLost(running []*attempt) {
	f := c.flight
	f.mu.Lock()
	losses := f.losses
	f.losses = nil
	causes, ids := make([]error, len(running)), make([]string, len(running))
	for i, a := range running {
		causes[i] = a.t.lost
		ids[i] = a.t.msg.ID // not of the delivery, which the handler has too
	}
	f.mu.Unlock()
	for reason, n := range losses {
		for range n {
			c.tel.LeaseLost(reason)
		}
	}
	for i, a := range running {
		c.log.Warn("lease lost while its handler runs; the handler is cancelled and its outcome will not be settled",
			"queue", a.d.Source, "message_id", ids[i], "attempt", a.d.Attempt, "error", causes[i])
		a.cancel(causes[i])
	}
}
