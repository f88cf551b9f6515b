package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/telemetry"
)

// minRelease is the least delay of a release that a handler asks for: less would
// let a message that nobody can take spin between broker and workers.
const minRelease = 100 * time.Millisecond

// maxPark is the longest release that is held here when the broker could delay
// it: beyond that the message is of more use to others.
const maxPark = time.Minute

// atReceipt decides about messages that must not run at all: those whose budget
// is spent, and those that keep killing the process.
func (c *Consumer) atReceipt(t *task, wall time.Time) {
	var err error
	switch limit := c.opt.MaxAbandoned; {
	case limit >= 0 && t.d.Abandoned > limit:
		err = fmt.Errorf("delivered %d times without ever being settled: its handler keeps killing the process, or its lease keeps being lost", t.d.Abandoned+1)
	case t.attempt > c.policy.maxAttempts:
		err = fmt.Errorf("received for attempt %d of a budget of %d: earlier attempts ended without a record", t.attempt, c.policy.maxAttempts)
	default:
		return
	}
	class := failure.ClassCrash
	if t.record != nil && t.d.Abandoned == 0 {
		class = t.record.Class // the budget was spent on that
	}
	t.record = c.recordFailure(t.record, t.d.Source, class, err, t.attempt, wall, "")
	t.verdict = verdict{action: broker.DeadLetter, attempt: t.attempt, class: class, record: t.record, err: err}
}

// decide turns what an attempt returned into a verdict. It changes nothing.
func (c *Consumer) decide(t *task, r *run, err error) (v verdict) {
	defer func() {
		if p := recover(); p != nil { // an error whose methods panic
			v = c.fail(t, verdict{
				attempt: t.attempt, class: failure.ClassBug, err: failure.Recovered(p),
				record: c.recordFailure(t.record, t.d.Source, failure.ClassBug, failure.Recovered(p), t.attempt, time.Now(), ""),
			}, nil, time.Now())
		}
	}()
	a, now := t.running, r.end
	if err == nil {
		return verdict{action: broker.Ack, attempt: t.attempt, record: t.record}
	}
	a.mu.Lock()
	attempt, record := a.number, a.record
	a.mu.Unlock()
	v = verdict{attempt: attempt, record: record, err: err}

	asked, _ := failure.Find[*Outcome](err)
	if asked != nil {
		switch asked.Action {
		case broker.Ack:
			v.action, v.dropped = broker.Ack, true
			return v
		case broker.Release:
			return c.release(t, v, min(max(asked.After, minRelease), maxDuration), now)
		case broker.Retry, broker.DeadLetter: // failures, below
		}
		if direct, ok := err.(*Outcome); ok && direct == asked { //nolint:errorlint // unwrapped on purpose
			err = asked.Err // what the record shall tell is the reason
		}
	}
	cause := context.Cause(a)
	switch {
	case errors.Is(cause, ErrShutdown), errors.Is(cause, broker.ErrLeaseLost):
		v.action = broker.Release
		return v
	case cause == nil && r.cause != nil: // what ended another item of the batch is no failure of this one
		return c.release(t, v, minRelease, now)
	}
	v.class = failure.Classify(err)
	if asked == nil && errors.Is(cause, ErrTimeout) {
		v.class = failure.ClassTimeout
		err = fmt.Errorf("no result within %s: %w", t.timeSpent(now), err)
	}
	wall := c.flight.epoch.Add(now)
	v.record = c.recordFailure(record, t.d.Source, v.class, err, attempt, wall, r.span.TraceID())
	return c.fail(t, v, asked, wall)
}

// fail decides between another attempt and the dead letters. v.attempt is the
// attempt that failed.
func (c *Consumer) fail(t *task, v verdict, asked *Outcome, wall time.Time) verdict {
	since := c.since(t.d, v.record)
	wait, again := c.policy.next(v.class, v.attempt, since, wall)
	if asked != nil {
		// The handler knows better than the class what is to be done, but the
		// budget is the policy's.
		wait = min(asked.After, maxDuration)
		again = asked.Action == broker.Retry && v.attempt < c.policy.maxAttempts && c.policy.inTime(since, wall.Add(wait))
	}
	if !again {
		v.action = broker.DeadLetter
		return v
	}
	v.action = broker.Retry
	v.attempt++
	v.hold = c.holdsRetry(t, wait)
	if room := t.leaseLimit - c.opt.Timeout - c.now() - minRelease; !v.hold && c.mustHold(c.keyed(t)) && room > 0 {
		v.hold, wait = true, min(wait, room) // as long as the lease allows: the broker cannot
	}
	if !v.hold && !c.cap.CarriesAttempts && v.attempt > t.base+1 {
		// Attempts were spent in holds that the broker knows nothing of: giving it
		// back would start the count anew.
		v.attempt--
		v.action = broker.DeadLetter
		return v
	}
	v.after = c.within(wait, v.hold)
	return v
}

// since is where MaxElapsed is measured from.
func (c *Consumer) since(d *broker.Delivery, record *failure.Record) time.Time {
	if !c.cap.CarriesFailure && !d.PublishedAt.IsZero() {
		return d.PublishedAt
	}
	return record.First
}

// release decides where a message that was given back without a failure waits.
func (c *Consumer) release(t *task, v verdict, wait, now time.Duration) verdict {
	v.action = broker.Release
	v.hold = c.holdsRelease(t, wait)
	v.after = c.within(wait, v.hold)
	if room := t.leaseLimit - now; !v.hold && c.cap.MaxDelay == 0 && room > minRelease {
		// The broker would deliver it again at once: keep it for as long as the lease
		// allows, so that it does not spin.
		v.hold, v.after = true, min(wait, room)
	}
	return v
}

// within keeps a delay below what the broker can do.
func (c *Consumer) within(wait time.Duration, hold bool) time.Duration {
	if !hold && wait > c.cap.MaxDelay {
		return c.cap.MaxDelay
	}
	return wait
}

// mustHold says whether a delay cannot be left to the broker: it has none, or
// later messages of the key would overtake.
func (c *Consumer) mustHold(keyed bool) bool {
	return c.cap.MaxDelay == 0 || keyed && !(c.cap.KeyOrder && c.cap.DelayKeepsOrder)
}

// holdsRetry says whether the wait before the next attempt is held here.
func (c *Consumer) holdsRetry(t *task, wait time.Duration) bool {
	if !c.leaseCovers(t, wait) {
		return false
	}
	keyed := c.keyed(t)
	return c.mustHold(keyed) || c.wouldHold(keyed, t.held+wait) && c.flight.roomToHold()
}

// wouldHold says whether policy and broker want a retry held that makes its
// delivery's holds total last so long. It is what Explain goes by.
func (c *Consumer) wouldHold(keyed bool, total time.Duration) bool {
	switch {
	case c.mustHold(keyed):
		return true
	case !c.cap.CarriesAttempts:
		// The broker counts deliveries, not our attempts: a message is held to its
		// end or never, or its budget would be counted in two places.
		return c.holdsAll
	default:
		return total <= c.opt.Retry.MaxHold
	}
}

// keyed says whether t has an order to keep.
func (c *Consumer) keyed(t *task) bool { return c.opt.Ordering == OrderKey && t.d.Key != "" }

// holdsRelease says whether a message that was given back waits here. It costs
// no count of attempts if the process dies, so that it is held where there is
// room; where giving it back would spend an attempt it is held in any case.
func (c *Consumer) holdsRelease(t *task, wait time.Duration) bool {
	if !c.leaseCovers(t, wait) {
		return false
	}
	if c.mustHold(c.keyed(t)) || !c.cap.ReleaseIsFree {
		return true
	}
	return wait <= maxPark && c.flight.roomToHold()
}

// leaseCovers says whether t can be kept for wait and another attempt.
func (c *Consumer) leaseCovers(t *task, wait time.Duration) bool {
	return c.now()+wait+c.opt.Timeout < t.leaseLimit
}

// roomToHold says whether fewer than half of MaxInFlight are held, so that
// failing messages cannot take all the room from others.
func (f *flight) roomToHold() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.states[stateHeld] < max(f.limit/2, 1)
}

// recordFailure adds a failure to a record.
func (c *Consumer) recordFailure(
	prev *failure.Record, source string, class failure.Class, err error, attempt int, at time.Time, trace string,
) *failure.Record {
	return failure.Next(prev, failure.Observation{
		Err: err, Class: class, Attempt: attempt, At: at.UTC(),
		Source: source, Consumer: c.opt.Name, Host: hostname(), CodeVersion: c.opt.CodeVersion, TraceID: trace,
	})
}

// timeSpent is how long the attempt has run, rounded for a person.
func (t *task) timeSpent(now time.Duration) time.Duration {
	return (now - t.started).Round(time.Millisecond)
}

// outcome is the verdict's word in telemetry.
func (v *verdict) outcome() string {
	switch {
	case v.lost:
		return telemetry.OutcomeLost
	case v.dropped:
		return telemetry.OutcomeDrop
	default:
		return v.action.String()
	}
}
