package memory

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// Faults makes a queue misbehave. Each hook is asked what shall go wrong; a nil
// hook means nothing does. Hooks are called from the goroutine of the call that
// they concern, concurrently, and with no lock held, so that a hook may itself
// call the broker: drop a connection, publish, let time pass. Put them to work
// with [Broker.Inject].
type Faults struct {
	// These are asked once for each call, before it does anything. A call that fails
	// returns the fault's error itself, wrapped, and not one of the kind that names
	// single elements. A Receive whose response is lost leaves its messages leased.
	ReceiveCall, SettleCall, ExtendCall, PublishCall Hook

	// Deliver is asked for each message of a Receive, after it was leased. With any
	// fault but Duplicate it is lost on its way: it stays leased, and nobody has it.
	// Settle, Extend and Publish are asked for each element of such a call, before
	// the call does anything.
	Deliver, Settle, Extend, Publish Hook
}

// Hook says what goes wrong with one operation. When it takes time the operation
// does, until ctx ends.
type Hook func(ctx context.Context, op Op) Fault

// Op is the operation that a hook is asked about.
type Op struct {
	// Settlement is set for Faults.Settle.
	Settlement *broker.Settlement
	// Delivery is set for Faults.Settle, Extend and Deliver.
	Delivery *broker.Delivery
	// Message is set for Faults.Settle, Extend, Deliver and Publish. It may be nil
	// where a caller passed nil.
	Message *broker.Message
	// Batch is how many elements the call has; the credit for a Receive.
	Batch int
}

// Fault is what goes wrong. The zero value: nothing.
type Fault struct {
	err   error // what the caller is told
	skip  bool  // it is not done
	twice bool
}

// Fail lets an operation fail with err: it is not done.
func Fail(err error) Fault { return Fault{err: err, skip: true} }

// LoseResponse lets an operation be done, and the caller be told that it failed
// with err.
func LoseResponse(err error) Fault { return Fault{err: err} }

// LoseRequest lets an operation not be done, and the caller be told that it was.
// A lost ack comes back after its lease; a lost publication is gone. A Receive
// that returns nothing does not exist, so for Faults.ReceiveCall it does nothing.
func LoseRequest() Fault { return Fault{skip: true} }

// Duplicate lets a message be stored twice; it is for Faults.Publish and
// Faults.Deliver, and does nothing elsewhere. A message that is delivered twice
// is so at the same time: the copy is ready at once, while its original is still
// leased, even where they have a key. Each of the two has to be settled.
func Duplicate() Fault { return Fault{twice: true} }

// Always answers every question with f.
func Always(f Fault) Hook {
	return func(context.Context, Op) Fault { return f }
}

// Next answers the next n questions with f and all later ones with nothing.
func Next(n int, f Fault) Hook {
	var asked atomic.Int64
	return func(context.Context, Op) Fault {
		if asked.Add(1) <= int64(n) {
			return f
		}
		return Fault{}
	}
}

// Nth answers the nth question, counted from 1, with f and all others with
// nothing.
func Nth(n int, f Fault) Hook {
	var asked atomic.Int64
	return func(context.Context, Op) Fault {
		if asked.Add(1) == int64(n) {
			return f
		}
		return Fault{}
	}
}

// Every answers every nth question with f: the nth, the 2nth and so on. An n
// below 1 means 1.
func Every(n int, f Fault) Hook {
	var asked atomic.Int64
	return func(context.Context, Op) Fault {
		if asked.Add(1)%int64(max(n, 1)) == 0 {
			return f
		}
		return Fault{}
	}
}

// When asks h about the operations that match, and answers nothing to others.
func When(match func(Op) bool, h Hook) Hook {
	return func(ctx context.Context, op Op) Fault {
		if !match(op) {
			return Fault{}
		}
		return h(ctx, op)
	}
}

// Slow lets every operation take d longer. When its context ends first, it fails
// with the context's error.
func Slow(d time.Duration) Hook {
	return func(ctx context.Context, _ Op) Fault {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return Fault{}
		case <-ctx.Done():
			return Fail(ctx.Err())
		}
	}
}

// Inject puts faults to work on a queue, for all its subscriptions and everybody
// who publishes to it, in place of those before; the zero Faults ends them. Calls
// under way keep the faults that they began with.
func (b *Broker) Inject(name string, f Faults) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, err := b.lookup(name)
	if err != nil {
		return fmt.Errorf("memory: inject faults: %w", err)
	}
	q.faults.Store(&f)
	return nil
}

// ask asks h, which may be nil.
func (h Hook) ask(ctx context.Context, op Op) Fault {
	if h == nil {
		return Fault{}
	}
	return h(ctx, op)
}

// askAll asks h about each of n elements; nil means that nothing goes wrong with
// any.
func (h Hook) askAll(ctx context.Context, n int, op func(i int) Op) []Fault {
	if h == nil {
		return nil
	}
	faults := make([]Fault, n)
	for i := range faults {
		faults[i] = h(ctx, op(i))
	}
	return faults
}

// deliver asks about each delivery and returns those that arrive.
func (s *Subscription) deliver(ctx context.Context, h Hook, ds []broker.Delivery) []broker.Delivery {
	if h == nil {
		return ds
	}
	arrived := ds[:0]
	for i := range ds {
		f := h(ctx, opOf(&ds[i], len(ds)))
		if f.twice {
			s.duplicate(&ds[i])
		}
		if !f.skip && f.err == nil {
			arrived = append(arrived, ds[i])
		}
	}
	clear(ds[len(arrived):])
	return arrived
}

func opOf(d *broker.Delivery, batch int) Op {
	op := Op{Delivery: d, Batch: batch}
	if d != nil {
		op.Message = d.Message
	}
	return op
}

// duplicate makes a second copy of a leased message ready.
func (s *Subscription) duplicate(d *broker.Delivery) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	l := s.leaseOf(d)
	if s.usable() != nil || l == nil || l.e == nil || s.q.admit(l.e.size) != nil {
		return
	}
	c := l.e.duplicate()
	c.seq = l.e.seq
	c.deliveries--
	s.q.keep(c)
	s.q.makeReady(c)
	s.q.wake()
}

// duplicate returns a copy of e that is in no place yet and in no chain.
func (e *entry) duplicate() *entry {
	return &entry{
		msg: e.msg, size: e.size,
		attempt: e.attempt, abandoned: e.abandoned, deliveries: e.deliveries, failure: e.failure,
	}
}
