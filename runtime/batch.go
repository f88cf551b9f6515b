package runtime

import (
	"context"
	"fmt"
	"time"

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
	some, whole := itemErrors(err, len(batch))
	for i := range errs {
		errs[i] = whole
	}
	for i, e := range some {
		errs[i] = e
	}
	return errs, context.Cause(ctx)
}

// itemErrors takes apart what a batch handler returned: the errors of single
// items, or one for all of them. A BatchError counts as such only when it is the
// whole answer: joined with another error it would leave open what that is about.
func itemErrors(err error, n int) (some map[int]error, whole error) {
	defer func() {
		if p := recover(); p != nil { // an error whose methods panic
			some, whole = nil, failure.Recovered(p)
		}
	}()
	const depth = 64 // an error can wrap itself
	e := err
	for range depth {
		b, ok := e.(*BatchError) //nolint:errorlint // it looks at single links itself
		switch {
		case ok && b == nil: // returned as it is, without Err
			return nil, nil
		case ok:
			for i := range b.Items {
				if i < 0 || i >= n {
					return nil, failure.Bug(fmt.Errorf(
						"the batch handler names item %d of a batch of %d (0 to %d); nobody knows what it means, so no item is acknowledged: %w", i, n, n-1, err))
				}
			}
			return b.Items, nil
		}
		w, ok := e.(interface{ Unwrap() error })
		if !ok {
			break
		}
		e = w.Unwrap()
	}
	return nil, err
}

// batching says when a batch is full enough to run. size 0: there are no batches.
type batching struct {
	size  int
	wait  time.Duration
	timer timer
}

// due says whether what is ready makes a batch: it is full, its first message
// has waited long enough, or no more will come. Lock held.
func (b *batching) due(f *flight) bool {
	if f.draining || f.now()-f.readyAt >= b.wait {
		return true
	}
	n := 0
	for t := f.ready.head; t != nil && n < b.size; t = t.next {
		n++
		if t.queue != nil {
			n += t.queue.waiting.n
		}
	}
	return n >= b.size
}

// arm sets the alarm for the batch that is being gathered; one that is due needs
// none, a worker takes it. Lock held.
func (b *batching) arm(f *flight) {
	if b.size == 0 || f.ready.n == 0 || b.timer.pos != 0 || b.due(f) {
		return
	}
	f.alarms.set(&b.timer, f.readyAt+b.wait)
	notify(f.wakeup.alarm)
}
