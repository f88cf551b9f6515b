package memory

import (
	"context"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// Receive leases messages in the order of publication, as far as keys allow. When
// several Receives wait, they are served first come, first served, and share
// evenly what is ready. It implements [broker.Subscription].
func (s *Subscription) Receive(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
	if err := checkCredit(credit); err != nil {
		return nil, s.wrap("receive from", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var f Faults
	if injected := s.q.faults.Load(); injected != nil {
		f = *injected
	}
	fault := f.ReceiveCall.ask(ctx, Op{Batch: credit.Messages})
	if fault.skip && fault.err != nil {
		return nil, s.wrap("receive from", fault.err)
	}
	for {
		ds, err := s.receive(ctx, credit)
		if err != nil {
			return nil, err
		}
		ds = s.deliver(ctx, f.Deliver, ds)
		if fault.err != nil { // the response is lost
			return nil, s.wrap("receive from", fault.err)
		}
		if len(ds) > 0 { // not all were lost on their way
			return ds, nil
		}
	}
}

func checkCredit(c broker.Credit) error {
	if c.Messages < 1 {
		return &broker.FieldError{Field: "Credit.Messages", Value: c.Messages, Problem: "must be at least 1"}
	}
	if c.Bytes < 1 {
		return &broker.FieldError{Field: "Credit.Bytes", Value: c.Bytes, Problem: "must be at least 1"}
	}
	return nil
}

func (s *Subscription) receive(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
	b, q := s.b, s.q
	b.mu.Lock()
	drops := s.drops
	var w *waiter // set while standing in line
	for {
		err := s.usable()
		if err == nil && s.drops != drops {
			err = errDropped
		}
		if err != nil {
			q.step(w)
			b.mu.Unlock()
			return nil, s.wrap("receive from", err)
		}
		now, at := b.now()
		q.advance(at)
		if q.ready > 0 && q.line.front(w) {
			ds := q.take(s, credit, now, at)
			q.step(w)
			q.arm(at)
			b.mu.Unlock()
			copyOut(ds)
			return ds, nil
		}
		if w == nil {
			w = q.line.join(s)
		}
		q.wake() // what advance made ready is for who stands in front
		q.watch(at)
		b.mu.Unlock()
		select {
		case <-w.wake:
			b.mu.Lock()
		case <-ctx.Done():
			b.mu.Lock()
			q.step(w)
			b.mu.Unlock()
			return nil, ctx.Err()
		}
	}
}

// step lets w, which may be nil, leave the line and the next look at what is left.
func (q *queue) step(w *waiter) {
	q.line.leave(w)
	q.wake()
}

// take leases what credit and fairness allow, at least one message: one is ready.
func (q *queue) take(s *Subscription, credit broker.Credit, now time.Time, at instant) []broker.Delivery {
	share := q.ready
	if n := len(q.line.waiters); n > 1 { // rounded up, so that all is taken
		share = (q.ready + n - 1) / n
	}
	bytes := 0
	for n := min(share, credit.Messages); n > 0; n-- {
		e := q.first()
		if bytes += e.size; bytes > credit.Bytes && len(q.picked) > 0 {
			break
		}
		q.takeFirst(e)
		q.picked = append(q.picked, e)
	}
	ds := make([]broker.Delivery, len(q.picked))
	var (
		messages []broker.Message
		leases   []lease
		until    time.Time
		owner    = s.owner()
	)
	if q.opts.Lease > 0 {
		until = now.Add(q.opts.Lease)
	}
	for i, e := range q.picked {
		if len(messages) == 0 {
			n := min(len(ds)-i, slabMessages)
			messages, leases = make([]broker.Message, n), make([]lease, n)
		}
		q.open(&leases[0], e, owner, at)
		messages[0] = e.msg
		d := &ds[i]
		d.Message = &messages[0]
		d.Source = q.name
		d.Attempt = e.attempt
		if !q.opts.Without.Abandoned {
			d.Abandoned = e.abandoned
		}
		d.LeaseUntil = until
		d.Session = s.session
		d.Failure = e.failure
		d.Ref = &leases[0]
		messages, leases = messages[1:], leases[1:]
	}
	clear(q.picked)
	if q.picked = q.picked[:0]; cap(q.picked) > shrinkAbove {
		q.picked = nil
	}
	return ds
}

// copyOut gives deliveries bodies and headers of their own, so that nothing a
// handler does to them reaches the stored message. It runs without the lock: a
// stored message never changes.
func copyOut(ds []broker.Delivery) {
	var s slab
	for i := range ds {
		s.plan(ds[i].Message)
	}
	for i := range ds {
		s.own(ds[i].Message)
	}
}
