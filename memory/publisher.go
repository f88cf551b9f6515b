package memory

import (
	"cmp"
	"context"
	"errors"
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
	q, keys, err := p.queue(to)
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
	faults := f.Publish.askAll(ctx, len(messages), func(i int) Op { return Op{Message: messages[i], Batch: len(messages)} })
	var failed []broker.Failed
	for i := 0; i < len(messages); i += slabMessages {
		part := portion{messages: messages[i:min(i+slabMessages, len(messages))], first: i, keys: keys}
		if faults != nil {
			part.faults = faults[i:]
		}
		if failed, err = p.store(q, part, failed); err != nil {
			return err
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

// queue finds the queue to publish to, and says whether it carries keys.
func (p *Publisher) queue(name string) (q *queue, keys bool, err error) {
	if p.closed.Load() {
		return nil, false, fmt.Errorf("publisher: %w", broker.ErrClosed)
	}
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	if p.b.down {
		return nil, false, errDropped
	}
	if q, err = p.b.lookup(name); err != nil {
		return nil, false, err
	}
	return q, !q.opts.Without.Keys, nil
}

// portion is a part of a publication, as much as one slab holds.
type portion struct {
	messages []*broker.Message
	first    int     // the index of its first message
	faults   []Fault // nil: none
	keys     bool    // the queue carries keys
}

func (x *portion) fault(i int) Fault {
	if x.faults == nil {
		return Fault{}
	}
	return x.faults[i]
}

// store stores a part of a publication and adds to failed those that it could
// not store.
func (p *Publisher) store(q *queue, x portion, failed []broker.Failed) ([]broker.Failed, error) {
	start := len(failed)
	fail := func(i int, err error) { failed = append(failed, broker.Failed{Index: x.first + i, Err: err}) }
	entries := make([]entry, len(x.messages)) // one without an ID is not to be stored
	now := time.Now()
	var copies slab
	for i, m := range x.messages {
		if f := x.fault(i); f.skip {
			if f.err != nil {
				fail(i, f.err)
			}
			continue
		}
		if err := broker.Prepare(m, now); err != nil {
			fail(i, err)
			continue
		}
		e := &entries[i]
		e.msg = *m
		e.msg.PublishedAt = m.PublishedAt.UTC().Round(0) // without the monotonic clock, as over a wire
		if !x.keys {
			e.msg.Key = ""
		}
		e.size = e.msg.Size()
		copies.plan(&e.msg)
	}
	for i := range entries {
		if e := &entries[i]; e.msg.ID != "" {
			copies.own(&e.msg)
		}
	}

	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	if p.b.closed {
		return failed, errBrokerClosed
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
		f := x.fault(i)
		if f.twice && q.admit(e.size) == nil {
			q.add(e.duplicate())
		}
		if f.err != nil {
			fail(i, f.err)
		}
	}
	q.wake()
	slices.SortFunc(failed[start:], func(a, b broker.Failed) int { return cmp.Compare(a.Index, b.Index) })
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
	if errors.Is(e.is, broker.ErrTooLarge) {
		return fmt.Sprintf("%v: its %d bytes exceed %s of queue %q, %d", e.is, e.would, e.limit, e.queue, e.max)
	}
	return fmt.Sprintf("%v: queue %q would hold %d, and its %s is %d; consume first, or raise it", e.is, e.queue, e.would, e.limit, e.max)
}

func (e *limitError) Unwrap() error { return e.is }

// Close ends the publisher: later calls fail with [broker.ErrClosed]. A Publish
// under way is carried out; no confirmation is outstanding once it returned.
func (p *Publisher) Close(context.Context) error {
	p.closed.Store(true)
	return nil
}
