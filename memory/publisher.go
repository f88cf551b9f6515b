package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// Publisher publishes to the queues of its broker. It implements
// [broker.Publisher].
type Publisher struct {
	b      *Broker
	closed atomic.Bool
}

var _ broker.Publisher = (*Publisher)(nil)

// Publish stores copies of the messages, in their order; the caller may use its
// own again at once. A full queue fails with [broker.ErrFull], a message above
// the queue's limit with [broker.ErrTooLarge].
func (p *Publisher) Publish(ctx context.Context, to string, messages ...*broker.Message) error {
	if err := p.publish(ctx, to, messages); err != nil {
		return fmt.Errorf("memory: publish to %q: %w", to, err)
	}
	return nil
}

func (p *Publisher) publish(ctx context.Context, to string, messages []*broker.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q, err := p.queue(to)
	if err != nil {
		return err
	}
	var f Faults
	if injected := q.faults.Load(); injected != nil {
		f = *injected
	}
	fault := f.PublishCall.ask(ctx, Op{Batch: len(messages)})
	if fault.skip {
		return fault.err
	}
	var failed []broker.Failed
	for i := 0; i < len(messages); i += slabMessages {
		part := messages[i:min(i+slabMessages, len(messages))]
		n := len(failed)
		if failed, err = p.store(ctx, q, f.Publish, part, failed); err != nil {
			return err
		}
		for j := range failed[n:] {
			failed[n+j].Index += i
		}
	}
	switch {
	case fault.err != nil:
		return fault.err
	case failed != nil:
		return &broker.PublishError{Failed: failed}
	}
	return nil
}

// queue finds the queue to publish to.
func (p *Publisher) queue(name string) (*queue, error) {
	if p.closed.Load() {
		return nil, fmt.Errorf("publisher: %w", broker.ErrClosed)
	}
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	if p.b.down {
		return nil, errDropped
	}
	return p.b.lookup(name)
}

// store stores at most slabMessages messages and appends those that failed.
func (p *Publisher) store(ctx context.Context, q *queue, hook Hook, messages []*broker.Message, failed []broker.Failed) ([]broker.Failed, error) {
	fail := func(i int, err error) { failed = append(failed, broker.Failed{Index: i, Err: err}) }
	first := len(failed)
	faults := hook.askAll(ctx, len(messages), func(i int) Op { return Op{Message: messages[i], Batch: len(messages)} })
	entries := make([]entry, len(messages)) // one without an ID is not stored
	now := time.Now()
	var own slab
	for i, m := range messages {
		if faults != nil && faults[i].skip {
			if err := faults[i].err; err != nil {
				fail(i, err)
			}
			continue
		}
		if err := broker.Prepare(m, now); err != nil {
			fail(i, err)
			continue
		}
		entries[i].msg = *m
		entries[i].size = m.Size()
		own.plan(m)
	}
	for i := range entries {
		if e := &entries[i]; e.msg.ID != "" {
			own.own(&e.msg)
			e.msg.PublishedAt = e.msg.PublishedAt.UTC().Round(0)
			if q.opts.Without.Keys {
				e.msg.Key = ""
			}
		}
	}

	b := p.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return failed, fmt.Errorf("broker: %w", broker.ErrClosed)
	}
	for i := range entries {
		e := &entries[i]
		if e.msg.ID == "" {
			continue
		}
		if err := q.admit(e.size); err != nil {
			fail(i, err)
			continue
		}
		q.add(e)
		if faults == nil {
			continue
		}
		if faults[i].twice && q.admit(e.size) == nil {
			q.add(e.duplicate())
		}
		if err := faults[i].err; err != nil {
			fail(i, err)
		}
	}
	q.wake()
	slices.SortStableFunc(failed[first:], func(a, b broker.Failed) int { return cmp.Compare(a.Index, b.Index) })
	return failed, nil
}

// admit says why q cannot take a new message of that size, nil if it can.
func (q *queue) admit(size int) error {
	if err := q.room(size); err != nil {
		return err
	}
	if limit := q.b.opts.MaxBytes; limit > 0 && q.b.bytes+size+keeping > limit {
		return &limitError{"", "Options.MaxBytes", q.b.bytes + size + keeping, limit, broker.ErrFull}
	}
	return nil
}

// limitError says which limit a message met.
type limitError struct {
	queue string // "": the limit is the broker's
	limit string
	would int
	max   int
	is    error
}

func (e *limitError) Error() string {
	if e.queue == "" {
		return fmt.Sprintf("%v: the broker would hold %d, and its %s is %d; consume first, or raise it", e.is, e.would, e.limit, e.max)
	}
	if e.is == broker.ErrTooLarge {
		return fmt.Sprintf("%v: its %d bytes exceed %s of queue %q, %d", e.is, e.would, e.limit, e.queue, e.max)
	}
	return fmt.Sprintf("%v: queue %q would hold %d, and its %s is %d; consume first, or raise it", e.is, e.queue, e.would, e.limit, e.max)
}

func (e *limitError) Unwrap() error { return e.is }

// Close ends the publisher: later calls fail with [broker.ErrClosed]. There are
// no confirmations to wait for.
func (p *Publisher) Close(context.Context) error {
	p.closed.Store(true)
	return nil
}
