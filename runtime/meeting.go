package runtime

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

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
	queue   *keyQueue
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
		s.m, s.queue = m, t.queue
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
	return errs, c.convene(ctx, m, errs)
}

// errFollows is the result of an item whose key has an earlier one that is not
// done: it has to run again behind that.
var errFollows = Release(0, "an earlier message of its key is not done")

// convene calls the batch handler for those that came, until the first of their
// contexts ends, and returns why it ended if it did. left are the results of
// those that did not come.
//
// Keys are kept in order here, and not only when verdicts are made, so that the
// chain of an item that has to run again sees no success: a dedupe would mark it
// as done.
func (c *Consumer) convene(ctx context.Context, m *meeting, left []error) (cause error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var undone undoneKeys
	var batch []*broker.Delivery
	var present []*seat
	for i := range m.seats {
		s := &m.seats[i]
		switch {
		case s.d == nil:
			undone.note(s.queue, left[i])
			continue
		case undone.has(s.queue):
			s.err = errFollows
			continue
		}
		s.err = errGoexit // stands if the handler never returns
		batch, present = append(batch, s.d), append(present, s)
		stop := context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) }) //nolint:contextcheck // each item has its own
		defer stop()                                                              //nolint:gocritic // at the end of the batch, as many as it has items
	}
	if len(batch) == 0 {
		return nil
	}
	errs, cause := c.callBatch(ctx, batch)
	for i, s := range present {
		s.err = errs[i]
		if undone.has(s.queue) {
			s.err = errFollows
		}
		undone.note(s.queue, errs[i])
	}
	return cause
}

// undoneKeys are the keys of which an item of a batch is not done.
type undoneKeys []*keyQueue

// note notes an item's result.
func (u *undoneKeys) note(q *keyQueue, err error) {
	if q == nil || err == nil {
		return
	}
	if o, ok := failure.Find[*Outcome](err); ok && o.Action == broker.Ack {
		return // dropped: done
	}
	*u = append(*u, q)
}

func (u undoneKeys) has(q *keyQueue) bool { return q != nil && slices.Contains(u, q) }
