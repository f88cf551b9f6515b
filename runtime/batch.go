package runtime

import (
	"context"
	"errors"
	"sync"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// runBatch runs the batch handler on r's tasks and decides about each.
func (c *Consumer) runBatch(r *run) {
	batch := make([]*broker.Delivery, len(r.tasks))
	for i, t := range r.tasks {
		batch[i] = t.d
	}
	base, leave := c.batchContext(r.tasks)
	defer leave()
	r.ctx, r.span = c.tel.ProcessBatch(base, batch)
	var errs []error
	if c.handler == nil {
		errs, r.cause = c.callBatch(r.ctx, batch)
	} else {
		errs, r.cause = c.callThroughChain(r.ctx, r.tasks)
	}
	c.conclude(r, errs...)
}

// batchContext is the context of a whole batch: it ends with the first of the
// items' contexts that ends.
func (c *Consumer) batchContext(tasks []*task) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(tasks[0].running)
	stops := make([]func() bool, 0, len(tasks)-1)
	for _, t := range tasks[1:] {
		a := t.running
		stops = append(stops, context.AfterFunc(a, func() { cancel(context.Cause(a)) }))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel(nil)
	}
}

// callBatch runs the batch handler and returns an error for each item, and why
// ctx ended if it did.
func (c *Consumer) callBatch(ctx context.Context, batch []*broker.Delivery) (errs []error, cause error) {
	errs = make([]error, len(batch))
	err := func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = failure.Recovered(p)
			}
		}()
		return c.batchHandler(ctx, batch)
	}()
	if some, ok := errors.AsType[*BatchError](err); ok {
		for i, e := range some.Items {
			if i >= 0 && i < len(errs) {
				errs[i] = e
			}
		}
		return errs, context.Cause(ctx)
	}
	for i := range errs {
		errs[i] = err
	}
	return errs, context.Cause(ctx)
}

// A meeting is where the items of a batch come together: each goes through the
// middleware in a goroutine of its own, and where the chain would call the
// handler it takes its seat and waits for its item's result. When every item has
// taken its seat or has left the chain before that, the batch handler is called
// once for those that are there.
type meeting struct {
	mu      sync.Mutex
	missing int
	seats   []seat
	full    chan struct{} // closed when nobody is missing
	ran     chan struct{} // closed when the results stand in the seats
}

// seat is an item's place at the meeting.
type seat struct {
	m       *meeting
	ctx     context.Context // as the chain handed it to the handler; nil: it did not come
	d       *broker.Delivery
	decided bool // it came or left
	err     error
}

type seatKey struct{}

// meet is the innermost handler of a chain around a batch handler.
func meet(ctx context.Context, d *broker.Delivery) error {
	s, ok := ctx.Value(seatKey{}).(*seat)
	if !ok {
		return failure.Bug(errors.New("runtime: a middleware replaced the context of a batch's item; derive it from the one it was given"))
	}
	if !s.m.arrive(ctx, s, d) {
		return failure.Bug(errors.New("runtime: a middleware called the handler of a batch's item twice; a batch runs once"))
	}
	<-s.m.ran // the batch handler ends when the item's context does, so no other wait is needed
	return s.err
}

// arrive notes that an item came (d is not nil) or left; false when it was noted
// before.
func (m *meeting) arrive(ctx context.Context, s *seat, d *broker.Delivery) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.decided {
		return false
	}
	s.ctx, s.d, s.decided = ctx, d, true
	if m.missing--; m.missing == 0 {
		close(m.full)
	}
	return true
}

// callThroughChain runs each item through the middleware, and the batch handler
// once for those that get through.
func (c *Consumer) callThroughChain(ctx context.Context, tasks []*task) (errs []error, cause error) {
	m := &meeting{
		missing: len(tasks), seats: make([]seat, len(tasks)),
		full: make(chan struct{}), ran: make(chan struct{}),
	}
	errs = make([]error, len(tasks))
	var chains sync.WaitGroup
	for i, t := range tasks {
		s := &m.seats[i]
		s.m = m
		chains.Go(func() {
			errs[i] = errGoexit // stands if the chain never returns
			defer m.arrive(ctx, s, nil)
			errs[i] = c.call(context.WithValue(t.running, seatKey{}, s), t.d) //nolint:contextcheck // each item has its own
		})
	}
	<-m.full
	// Deferred, so that the chains end also when the handler calls Goexit.
	defer chains.Wait()
	defer close(m.ran)
	return errs, c.convene(ctx, m)
}

// convene calls the batch handler for those that came, until the first of their
// contexts ends, and returns why it ended if it did.
func (c *Consumer) convene(ctx context.Context, m *meeting) (cause error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var batch []*broker.Delivery
	var present []*seat
	for i := range m.seats {
		s := &m.seats[i]
		if s.d == nil {
			continue
		}
		s.err = errGoexit // stands if the handler never returns
		batch, present = append(batch, s.d), append(present, s)
		stop := context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) }) //nolint:contextcheck // likewise
		defer stop()                                                              //nolint:gocritic // at the end of the batch, as many as it has items
	}
	if len(batch) == 0 {
		return nil
	}
	errs, cause := c.callBatch(ctx, batch)
	for i, err := range errs {
		present[i].err = err
	}
	return cause
}
