package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// Settle carries out the settlements in order. It implements
// [broker.Subscription]; these are the details that are this broker's own.
//
//   - Retry and Release put a message back to its original place in its queue and
//     in its key. An Attempt of 0 means Delivery.Attempt + 1 after a Retry and
//     Delivery.Attempt after a Release. A Failure of nil leaves the record that
//     the message has.
//   - DeadLetter needs a Failure. It fails with [broker.ErrFull] when the
//     dead-letter queue is full, with [broker.ErrTooLarge] when the message can
//     never fit, with [broker.ErrUnsupported] when there is none; the message
//     stays leased.
//   - A lease that has ended, by its deadline, its session or an earlier
//     settlement, is [broker.ErrLeaseLost].
func (s *Subscription) Settle(ctx context.Context, settlements []broker.Settlement) error {
	const doing = "settle on"
	if n := len(settlements); n > s.opts.MaxSettle {
		return s.wrap(doing, tooMany("Settlements", n, s.opts.MaxSettle))
	}
	return s.carryOut(ctx, doing, exchange{
		size:  len(settlements),
		hooks: func(f *Faults) (Hook, Hook) { return f.SettleCall, f.Settle },
		op: func(i int) Op {
			op := opOf(settlements[i].Delivery, len(settlements))
			op.Settlement = &settlements[i]
			return op
		},
		do: func(i int, now instant) error { return s.settle(&settlements[i], now) },
	})
}

// settle carries out one settlement or leaves the message as it was.
func (s *Subscription) settle(x *broker.Settlement, now instant) error {
	q := s.q
	l := s.leaseOf(x.Delivery)
	if l == nil || l.e == nil {
		return s.failed(x, lost(l))
	}
	e := l.e
	switch x.Action {
	case broker.Ack:
		q.end(l, true)
		q.remove(e)
	case broker.Retry, broker.Release:
		if x.After > s.caps.MaxDelay {
			return s.failed(x, fmt.Errorf("a delay of %s is %w: MaxDelay is %s", x.After, broker.ErrUnsupported, s.caps.MaxDelay))
		}
		q.end(l, true)
		e.attempt = s.nextAttempt(x, e)
		e.abandoned = 0
		if x.Failure != nil && !q.opts.Without.Failure {
			e.failure = x.Failure
		}
		q.giveBack(e, x.After, now)
	case broker.DeadLetter:
		if q.dead == nil {
			return s.failed(x, fmt.Errorf("dead letters are %w here: the queue has no dead-letter queue", broker.ErrUnsupported))
		}
		if x.Failure == nil {
			return s.failed(x, &broker.FieldError{Field: "Settlement.Failure", Problem: "is missing; a dead letter must say why"})
		}
		if err := q.dead.room(e.size); err != nil {
			return s.failed(x, err)
		}
		q.end(l, true)
		q.bury(e, x.Failure)
	default:
		return s.failed(x, &broker.FieldError{Field: "Settlement.Action", Value: x.Action, Problem: "is none of ack, retry, dead_letter, release"})
	}
	return nil
}

// nextAttempt is what the next delivery after a Retry or Release is counted as.
func (s *Subscription) nextAttempt(x *broker.Settlement, e *entry) int {
	w := s.q.opts.Without
	spent := e.attempt + 1
	switch {
	case w.Attempts:
		return e.deliveries + 1
	case x.Action == broker.Release && w.FreeRelease:
		return max(x.Attempt, spent)
	case x.Attempt > 0:
		return x.Attempt
	case x.Action == broker.Release:
		return e.attempt
	default:
		return spent
	}
}

func (s *Subscription) failed(x *broker.Settlement, err error) error {
	return fmt.Errorf("memory: %s message %s of %q: %w", x.Action, messageID(x.Delivery), s.q.name, err)
}

// lost says what became of a lease that is not live; nil for one that is not the
// subscription's.
func lost(l *lease) error {
	switch {
	case l == nil:
		return fmt.Errorf("%w: the delivery is not of this subscription", broker.ErrLeaseLost)
	case l.settled:
		return fmt.Errorf("%w: the delivery was settled before", broker.ErrLeaseLost)
	default:
		return fmt.Errorf("%w: its time ran out or its session ended, and the message is delivered again", broker.ErrLeaseLost)
	}
}

func messageID(d *broker.Delivery) string {
	if d == nil || d.Message == nil {
		return "(none)"
	}
	return d.ID
}

// Extend makes leases run until at least now + by; it never shortens one. It
// implements [broker.Subscription]. A lease that would run longer than
// [Queue].MaxLease fails with [*MaxLeaseError] and keeps its deadline.
func (s *Subscription) Extend(ctx context.Context, deliveries []*broker.Delivery, by time.Duration) error {
	const doing = "extend leases of"
	if !s.caps.Extends {
		return s.wrap(doing, fmt.Errorf("to extend is %w here", broker.ErrUnsupported))
	}
	if n := len(deliveries); n > s.opts.MaxExtend {
		return s.wrap(doing, tooMany("Deliveries", n, s.opts.MaxExtend))
	}
	return s.carryOut(ctx, doing, exchange{
		size:  len(deliveries),
		hooks: func(f *Faults) (Hook, Hook) { return f.ExtendCall, f.Extend },
		op:    func(i int) Op { return opOf(deliveries[i], len(deliveries)) },
		do:    func(i int, now instant) error { return s.extend(deliveries[i], by, now) },
	})
}

func (s *Subscription) extend(d *broker.Delivery, by time.Duration, now instant) error {
	l := s.leaseOf(d)
	switch {
	case l == nil || l.e == nil && !l.settled:
		return fmt.Errorf("memory: extend message %s of %q: %w", messageID(d), s.q.name, lost(l))
	case l.e == nil: // settled meanwhile
		return nil
	default:
		return s.q.extend(l, by, now)
	}
}
