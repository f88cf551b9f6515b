package memory

import (
	"sync/atomic"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// entry is a stored message.
//
// At any moment it is in exactly one place: ready (in queue.fresh or
// queue.returned), delayed, leased, or waiting behind an earlier message of its
// key.
type entry struct {
	msg        broker.Message // never changed while stored, so it is copied without the lock
	size       int
	seq        int64 // its place in the queue, kept through retries and releases
	attempt    int   // of the next delivery, or of the present one
	abandoned  int
	deliveries int
	failure    *failure.Record

	state State
	due   instant // when delayed: when it becomes ready
	lease *lease  // when leased

	laned  bool   // takes part in the order of its key
	behind *entry // the next message of the key
	next   *entry // in queue.fresh

	age place // in queue.ages
}

// queue is one queue. Everything is guarded by Broker.mu except the fields that
// say otherwise.
type queue struct {
	b       *Broker
	name    string // immutable
	opts    Queue
	implied bool // made as somebody's dead-letter queue, and not declared
	dead    *queue
	sources []*queue // those whose dead-letter queue this is
	subs    map[*Subscription]struct{}
	faults  atomic.Pointer[Faults] // read without the lock

	seq   int64
	count int // messages held
	bytes int // their sizes

	// Ready messages leave in the order of seq. Fresh ones arrive in that order, so
	// that a list does; a heap holds the few that come later than their place: what
	// was given back, and the next of a key.
	fresh    list
	returned heap[entry] // by seq
	ready    int         // in both

	delayed heap[entry] // by due
	leases  heap[lease] // by deadline
	lanes   lanes
	ages    ages

	line    line
	alarm   alarm
	drained []chan struct{}

	picked []*entry // scratch of take, empty between calls
}

func newQueue(b *Broker, o Queue) *queue {
	q := &queue{b: b, name: o.Name, opts: o, subs: make(map[*Subscription]struct{})}
	q.leases.moved = func(l *lease, i int) { l.index = i }
	q.ages.init()
	return q
}

// room says why q cannot take another message of that size, nil if it can.
func (q *queue) room(size int) error {
	o := &q.opts
	switch {
	case o.MaxMessageBytes > 0 && size > o.MaxMessageBytes:
		return &limitError{q.name, "MaxMessageBytes", size, o.MaxMessageBytes, broker.ErrTooLarge}
	case o.MaxBytes > 0 && size > o.MaxBytes: // will never fit
		return &limitError{q.name, "MaxBytes", size, o.MaxBytes, broker.ErrTooLarge}
	case o.MaxMessages > 0 && q.count >= o.MaxMessages:
		return &limitError{q.name, "MaxMessages", q.count + 1, o.MaxMessages, broker.ErrFull}
	case o.MaxBytes > 0 && q.bytes+size > o.MaxBytes:
		return &limitError{q.name, "MaxBytes", q.bytes + size, o.MaxBytes, broker.ErrFull}
	}
	return nil
}

// add stores e as the youngest message.
func (q *queue) add(e *entry) {
	q.seq++
	e.seq = q.seq
	e.attempt, e.abandoned, e.deliveries = 1, 0, 0
	q.keep(e)
	e.laned = e.msg.Key != "" && !q.opts.Without.KeyOrder
	if e.laned && !q.lanes.join(e) {
		e.state = Waiting
		return
	}
	e.state = Ready
	q.ready++
	q.fresh.push(e)
}

// keep counts e among what q holds.
func (q *queue) keep(e *entry) {
	q.count++
	q.bytes += e.size
	q.b.bytes += e.size + keeping
	q.ages.add(e, e.msg.PublishedAt.Sub(q.b.start)) // Sub saturates, so no date is too far
}

// remove forgets e, which is in no place any more, and lets the next message of
// its key come forward.
func (q *queue) remove(e *entry) {
	q.count--
	q.bytes -= e.size
	q.b.bytes -= e.size + keeping
	q.ages.remove(e)
	if e.laned {
		if next := q.lanes.leave(e); next != nil {
			q.makeReady(next)
		}
	}
	if q.count == 0 {
		q.signalDrained()
	}
}

// makeReady puts e back to its place among the ready messages.
func (q *queue) makeReady(e *entry) {
	e.state = Ready
	q.ready++
	q.returned.push(e.seq, e)
}

// first returns the ready message that is delivered next, nil if there is none.
func (q *queue) first() *entry {
	seq, e, ok := q.returned.min()
	if f := q.fresh.head; f != nil && (!ok || f.seq < seq) {
		return f
	}
	return e
}

// takeFirst takes out what first returned.
func (q *queue) takeFirst(e *entry) {
	q.ready--
	if e == q.fresh.head {
		q.fresh.pop()
		return
	}
	q.returned.pop()
}

// advance carries out what has become due by now: leases end, delays end.
func (q *queue) advance(now instant) {
	for {
		until, l, ok := q.leases.min()
		if !ok || instant(until) > now {
			break
		}
		q.abandon(l, now)
	}
	for {
		due, e, ok := q.delayed.min()
		if !ok || instant(due) > now {
			return
		}
		q.delayed.pop()
		q.makeReady(e)
	}
}

// abandon ends a lease that nobody settled.
func (q *queue) abandon(l *lease, now instant) {
	e := l.e
	q.end(l, false)
	e.abandoned++
	if q.opts.Without.Attempts {
		e.attempt = e.deliveries + 1
	}
	q.giveBack(e, 0, now)
}

// giveBack lets a message whose lease has ended be delivered again after a
// delay, unless it was delivered as often as it may be.
func (q *queue) giveBack(e *entry, after, now time.Duration) {
	if limit := q.opts.DeliveryLimit; limit > 0 && e.deliveries >= limit && q.dead != nil && q.dead.room(e.size) == nil {
		q.bury(e, crashRecord(q.name, e, limit))
		return
	}
	if after <= 0 {
		q.makeReady(e)
		return
	}
	e.state, e.due = Delayed, later(now, after)
	q.delayed.push(int64(e.due), e)
}

// bury moves a message whose lease has ended to the dead-letter queue, which
// has room for it.
func (q *queue) bury(e *entry, r *failure.Record) {
	q.remove(e)
	// A copy, because dead letters stay: what was published together lies together
	// in memory, and one that stays would keep all of it.
	dead := &entry{msg: *e.msg.Clone(), size: e.size, attempt: e.attempt, failure: r}
	q.dead.add(dead)
	q.dead.wake()
}

// list is a first-in first-out list of entries.
type list struct{ head, tail *entry }

func (l *list) push(e *entry) {
	if l.tail == nil {
		l.head = e
	} else {
		l.tail.next = e
	}
	l.tail = e
}

func (l *list) pop() {
	e := l.head
	l.head, e.next = e.next, nil
	if l.head == nil {
		l.tail = nil
	}
}
