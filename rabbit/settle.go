package rabbit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// Settle carries out settlements; see [broker.Subscription].
//
// An ack is done when it is sent: AMQP does not answer it. If the connection
// fails before the broker has read it, the message is delivered again.
//
// A retry, a dead letter and, on a quorum queue, a release are a copy that the
// broker has confirmed and routed, and then an ack of the original. (An ordered
// consumer keeps what it releases, and gives back what it retries with a nack.) If that ack
// is lost there are two: the copy has the id of the original, for dedupe. While
// the copy cannot be published the original stays leased.
func (s *Subscription) Settle(ctx context.Context, settlements []broker.Settlement) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b := settling{sub: s, errs: make([]error, len(settlements))}
	for i := range settlements {
		if err := b.add(i, &settlements[i]); err != nil {
			b.errs[i] = err
		}
	}
	b.acks.send(b.errs) // first: they need not wait for confirmations
	b.keep(s)
	b.nacks(s)
	if len(b.parcels) > 0 {
		s.out.hurry(ctx, b.parcels)
		for i, p := range b.parcels {
			if p.err != nil {
				b.errs[b.copied.at[i]] = p.err
			} else {
				b.done.add(b.copied.at[i], b.copied.leases[i])
			}
		}
		b.done.send(b.errs)
	}
	var failed []broker.Failed
	for i, err := range b.errs {
		if err != nil {
			failed = append(failed, broker.Failed{Index: i, Err: fmt.Errorf(
				"rabbitmq: %s a message of %q: %w", settlements[i].Action, s.plan.queue, err)})
		}
	}
	if failed != nil {
		return &broker.SettleError{Failed: failed}
	}
	return nil
}

// settling is one call of Settle, sorted by what is to be done.
type settling struct {
	sub  *Subscription
	errs []error // by settlement

	acks    group
	kept    group // given back to the buffer here
	back    group // by nack
	parcels []*parcel
	copied  group // the originals of parcels
	done    group // those of copied whose copy is safe
}

// group is some of the settlements.
type group struct {
	at     []int // their indexes
	leases []*leased
}

func (g *group) add(i int, l *leased) {
	g.at, g.leases = append(g.at, i), append(g.leases, l)
}

// send acknowledges a group.
func (g *group) send(errs []error) {
	g.bySession(func(at []int, leases []*leased) {
		err := leases[0].on.ack(leases, func(i int, err error) { errs[at[i]] = err })
		if err != nil {
			for _, i := range at {
				errs[i] = err
			}
		}
	})
}

// bySession calls f for each run of leases on one session: all of them, except
// around a reconnect.
func (g *group) bySession(f func(at []int, leases []*leased)) {
	for first := 0; first < len(g.leases); {
		last := first
		for last < len(g.leases) && g.leases[last].on == g.leases[first].on {
			last++
		}
		f(g.at[first:last], g.leases[first:last])
		first = last
	}
}

// add sorts one settlement.
func (b *settling) add(i int, m *broker.Settlement) error {
	l, ok := m.Delivery.Ref.(*leased)
	if !ok {
		return errors.New("the delivery was not made by this adapter")
	}
	if err := l.on.settleable(l); err != nil {
		return err
	}
	plan := &b.sub.plan
	switch m.Action {
	case broker.Ack:
		b.acks.add(i, l)
		return nil
	case broker.Retry, broker.Release:
		to, ok := plan.topology.rung(m.After)
		switch {
		case ok && plan.keeps(m, l):
			b.kept.add(i, l)
			return nil
		case ok && plan.byNack(m):
			b.back.add(i, l)
			return nil
		case !ok:
			return fmt.Errorf("a delay of %s is longer than the longest delay queue: %w", m.After, broker.ErrUnsupported)
		}
		b.copy(i, l, to, m)
		return nil
	case broker.DeadLetter:
		if plan.topology.deadLetter == "" || plan.dead {
			return fmt.Errorf("there is no dead-letter queue: %w", broker.ErrUnsupported)
		}
		b.copy(i, l, plan.topology.deadLetter, m)
		return nil
	default:
		return fmt.Errorf("action %d: %w", m.Action, broker.ErrUnsupported)
	}
}

// byNack says whether a message goes back as it is. A nack can carry nothing: no
// delay, no count, no record.
func (p *plan) byNack(m *broker.Settlement) bool {
	if p.attempts == deliveriesAreAttempts {
		return true // to keep its place
	}
	return p.attempts == deliveriesAreUnknown && m.Action == broker.Release && m.After <= 0 && m.Failure == nil &&
		(m.Attempt == 0 || m.Attempt == m.Delivery.Attempt)
}

// keeps says whether a released message is put back into the buffer here. With a
// single active consumer the broker would only deliver it here again, and count
// that; nearly at the end of its acknowledgement timeout it must go round all the
// same, to begin a new one.
func (p *plan) keeps(m *broker.Settlement, l *leased) bool {
	return p.attempts == deliveriesAreAttempts && m.Action == broker.Release &&
		(p.ackTimeout <= 0 || time.Since(l.arrived) < p.ackTimeout/2)
}

// keep puts what is released and stays here back into the buffer. Each becomes a
// new lease of the same delivery, so that its old one is settled.
func (b *settling) keep(s *Subscription) {
	if len(b.kept.leases) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, l := range b.kept.leases {
		again, err := l.on.renew(l)
		if err != nil {
			b.errs[b.kept.at[n]] = err
		} else if again.on == s.current { // else the broker delivers it again
			s.buffer = s.gates.keep(s.buffer, again)
		}
	}
	notify(s.arrived)
}

// copy makes the parcel for one settlement.
func (b *settling) copy(i int, l *leased, to string, m *broker.Settlement) {
	attempt := m.Attempt
	if attempt == 0 {
		attempt = m.Delivery.Attempt
		if m.Action == broker.Retry {
			attempt++
		}
	}
	b.parcels = append(b.parcels, &parcel{key: to, copied: m.Action != broker.DeadLetter, Publishing: copyOf(&l.native, attempt, m.Failure)})
	b.copied.add(i, l)
}

// nacks gives back what goes back by nack, in order.
func (b *settling) nacks(s *Subscription) {
	if len(b.back.leases) == 0 {
		return
	}
	if s.plan.attempts == deliveriesAreAttempts {
		s.mu.Lock()
		s.buffer = s.gates.give(s.buffer, b.back.leases)
		s.mu.Unlock()
	}
	b.back.bySession(func(at []int, leases []*leased) {
		err := leases[0].on.nack(leases, func(i int, err error) { b.errs[at[i]] = err })
		if err != nil {
			for _, i := range at {
				b.errs[i] = err
			}
		}
	})
}
