package memory

import (
	"fmt"
	"sync"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// Broker holds queues in the memory of this process. Make one with [New]. All
// methods, and those of its subscriptions and publishers, are safe for
// concurrent use.
//
// Inside a testing/synctest bubble, a broker made in the bubble works wholly in
// it: its waits are durable and its time is the bubble's.
type Broker struct {
	opts  Options
	start time.Time // the origin of every instant

	// mu guards everything below and everything in the queues. One lock for all
	// queues makes moving a dead letter atomic. Bodies are copied and hooks are
	// called outside of it.
	mu     sync.Mutex
	queues map[string]*queue
	bytes  int // what all messages occupy, keeping them included
	closed bool
	down   bool // Disconnect was called, Reconnect not yet

	alarms sync.WaitGroup // armed timers and their running callbacks
}

// instant is a time as the distance from Broker.start: it follows the monotonic
// clock, and comparing costs nothing.
type instant = time.Duration

// keeping is roughly what a stored message costs beside its own bytes.
const keeping = 320

// New returns a broker without queues.
func New(o Options) *Broker {
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	return &Broker{opts: o, start: time.Now(), queues: make(map[string]*queue)}
}

// Declare makes a queue, and its dead-letter queue where there is none of that
// name. To declare a queue again with the same settings does nothing; with other
// settings it is an error that matches [broker.ErrInvalid], unless the queue was
// only made as a dead-letter queue by default and has not been used yet.
func (b *Broker) Declare(o Queue) error {
	if err := o.Validate(); err != nil {
		return fmt.Errorf("memory: declare queue %q: %w", o.Name, err)
	}
	o = o.withDefaults()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return fmt.Errorf("memory: declare queue %q: broker: %w", o.Name, broker.ErrClosed)
	}
	q := b.queues[o.Name]
	switch {
	case q == nil:
		q = newQueue(b, o)
		b.queues[o.Name] = q
	case q.opts == o:
		q.implied = false
		return nil
	case q.implied && q.count == 0 && len(q.subs) == 0:
		q.opts = o
	default:
		return fmt.Errorf("memory: declare queue %q: %w: it exists with other settings; declare it once, and before "+
			"the queue that it is the dead-letter queue of", o.Name, broker.ErrInvalid)
	}
	q.implied = false
	if !o.Without.DeadLetters {
		q.dead = b.deadLetterQueue(o)
		q.dead.sources = append(q.dead.sources, q)
	}
	return nil
}

// deadLetterQueue finds or makes the dead-letter queue of o.
func (b *Broker) deadLetterQueue(o Queue) *queue {
	if q := b.queues[o.DeadLetter]; q != nil {
		return q
	}
	q := newQueue(b, Queue{
		Name:            o.DeadLetter,
		MaxMessages:     o.MaxMessages,
		MaxBytes:        o.MaxBytes,
		MaxMessageBytes: o.MaxMessageBytes,
		Without:         Without{DeadLetters: true, KeyOrder: true},
	}.withDefaults())
	q.implied = true
	b.queues[o.DeadLetter] = q
	return q
}

// Subscribe opens a consumer of a queue. Several of one queue share its messages.
// An unknown queue is an error that matches [broker.ErrNotFound].
func (b *Broker) Subscribe(name string, o SubscribeOptions) (*Subscription, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, err := b.lookup(name)
	if err != nil {
		return nil, fmt.Errorf("memory: subscribe: %w", err)
	}
	if err := o.validate(q.opts); err != nil {
		return nil, fmt.Errorf("memory: subscribe to %q: %w", name, err)
	}
	s := &Subscription{b: b, q: q, opts: o.withDefaults()}
	s.caps = s.capabilities()
	s.openSession()
	q.subs[s] = struct{}{}
	return s, nil
}

// Publisher returns a publisher to the queues of b.
func (b *Broker) Publisher() *Publisher { return &Publisher{b: b} }

// Close ends the broker: every call under way and every later one fails with
// [broker.ErrClosed], sessions end, and the messages are gone. It returns when
// nothing of the broker runs any more. Closing again does nothing.
func (b *Broker) Close() {
	b.mu.Lock()
	b.closed = true
	for _, q := range b.queues {
		q.disarm()
		q.signalDrained()
		for s := range q.subs {
			if s.session != nil {
				s.session.End(errBrokerClosed)
			}
			q.line.rouse(s)
		}
		q.subs = nil
	}
	b.queues, b.bytes = nil, 0
	b.mu.Unlock()
	b.alarms.Wait()
}

// lookup finds a queue. The caller holds mu.
func (b *Broker) lookup(name string) (*queue, error) {
	if b.closed {
		return nil, fmt.Errorf("queue %q: broker: %w", name, broker.ErrClosed)
	}
	q := b.queues[name]
	if q == nil {
		return nil, fmt.Errorf("queue %q: %w; declare it first", name, broker.ErrNotFound)
	}
	return q, nil
}

// now returns the time, and the same as an instant.
func (b *Broker) now() (time.Time, instant) {
	now := time.Now()
	return now, now.Sub(b.start)
}

var errBrokerClosed = fmt.Errorf("memory: broker: %w", broker.ErrClosed)
