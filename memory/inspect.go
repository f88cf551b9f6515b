package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// State is where a stored message is.
type State uint8

// The states of a stored message.
const (
	// Ready: it could be delivered now.
	Ready State = iota + 1
	// Leased: a consumer has it.
	Leased
	// Delayed: it becomes ready at a time.
	Delayed
	// Waiting: an earlier message of its key comes first.
	Waiting
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case Ready:
		return "ready"
	case Leased:
		return "leased"
	case Delayed:
		return "delayed"
	case Waiting:
		return "waiting"
	default:
		return "invalid"
	}
}

// Stored is a copy of a message as it lies in a queue.
type Stored struct {
	*broker.Message
	State State
	// Attempt and Abandoned are those of its next delivery, or of the present one.
	Attempt   int
	Abandoned int
	// Deliveries is how often this queue handed it out.
	Deliveries int
	// Failure is the record that it carries; in a dead-letter queue, why it is there.
	Failure *failure.Record
	// Until is when its lease or delay ends; zero for other states and for a lease
	// without a deadline.
	Until time.Time
}

// QueueStats counts what is in a queue.
type QueueStats struct {
	Ready, InFlight, Delayed int
	// Waiting messages come after an earlier one of their key that is not yet
	// settled.
	Waiting int
	// Bytes is the size of all messages, as broker.Message.Size counts.
	Bytes int
	// OldestAge is the time since the oldest message was first published; 0 when
	// the queue is empty.
	OldestAge time.Duration
}

// Total is the number of messages in the queue.
func (s QueueStats) Total() int { return s.Ready + s.InFlight + s.Delayed + s.Waiting }

// Stats counts what is in a queue. It costs the same however long the queue is.
func (b *Broker) Stats(name string) (QueueStats, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, err := b.lookup(name)
	if err != nil {
		return QueueStats{}, fmt.Errorf("memory: read statistics: %w", err)
	}
	now, at := b.now()
	q.advance(at)
	q.wake()
	return q.stats(now), nil
}

func (q *queue) stats(now time.Time) QueueStats {
	s := QueueStats{
		Ready:    q.ready,
		InFlight: q.leases.len(),
		Delayed:  q.delayed.len(),
		Bytes:    q.bytes,
	}
	s.Waiting = q.count - s.Total()
	if e := q.ages.first(); e != nil {
		s.OldestAge = max(now.Sub(e.msg.PublishedAt), 0)
	}
	return s
}

// Messages returns copies of all messages in a queue, in their order in the
// queue, whatever their state. It is meant for tests: it copies the whole queue
// while the broker stands still.
func (b *Broker) Messages(name string) ([]Stored, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, err := b.lookup(name)
	if err != nil {
		return nil, fmt.Errorf("memory: list messages: %w", err)
	}
	_, at := b.now()
	q.advance(at)
	q.wake()
	entries := make([]*entry, 0, q.count)
	for e := q.ages.oldest; e != nil; e = e.age.younger {
		entries = append(entries, e)
	}
	for _, it := range q.ages.late.items {
		entries = append(entries, it.v)
	}
	slices.SortFunc(entries, func(a, b *entry) int { return cmp.Compare(a.seq, b.seq) })
	stored := make([]Stored, len(entries))
	for i, e := range entries {
		stored[i] = Stored{
			Message: e.msg.Clone(), State: e.state,
			Attempt: e.attempt, Abandoned: e.abandoned, Deliveries: e.deliveries, Failure: e.failure,
		}
		switch {
		case e.state == Delayed:
			stored[i].Until = b.start.Add(e.due)
		case e.state == Leased && e.lease.until != forever:
			stored[i].Until = b.start.Add(e.lease.until)
		}
	}
	return stored, nil
}

// Drained waits until a queue holds no message at all, neither ready nor leased
// nor delayed: until everything published to it was acked or dead-lettered. It
// returns ctx's error when ctx ends first.
func (b *Broker) Drained(ctx context.Context, name string) error {
	b.mu.Lock()
	q, err := b.lookup(name)
	if err != nil {
		b.mu.Unlock()
		return fmt.Errorf("memory: wait until drained: %w", err)
	}
	if q.count == 0 {
		b.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	q.drained = append(q.drained, done)
	b.mu.Unlock()
	select {
	case <-done:
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.closed {
			return fmt.Errorf("memory: wait until %q is drained: broker: %w", name, broker.ErrClosed)
		}
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(q.drained, done); i >= 0 {
		q.drained = slices.Delete(q.drained, i, i+1)
	}
	return ctx.Err()
}

func (q *queue) signalDrained() {
	for _, done := range q.drained {
		close(done)
	}
	q.drained = nil
}
