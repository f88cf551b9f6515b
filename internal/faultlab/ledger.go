package faultlab

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// examples is how many sequence numbers a report names of each kind.
const examples = 5

// Ledger keeps account of a run of messages under faults. Messages are the
// sequence numbers 0 to n-1, which the test puts into their bodies. Its methods
// may be called by any goroutine; what happens in other processes is reported by
// them in lines that [Event.Line] makes and Record reads. It takes eight bytes
// per message.
//
// The order of a key is kept if no message is started before the one before it
// in its key is done, and if, where Settled is used, the settlements of a key come
// in its order. The publisher must wait for the confirmation of a message before
// it publishes the next of the same key; else it makes the disorder itself.
type Ledger struct {
	mu       sync.Mutex
	keys     int
	entries  []entry
	open     int // confirmed, without outcome
	foreign  []string
	strays   int
	order    offences
	settling []int32 // the highest settled of each key, -1 before
	allowed  int
	causes   []string
}

// entry is what happened to one message; counters stop at their maximum.
type entry struct {
	started, finished uint16
	dead              uint8
	published         bool
	settled           bool
}

func (e *entry) done() bool    { return e.finished > 0 || e.dead > 0 }
func (e *entry) outcomes() int { return int(e.finished) + int(e.dead) }

// offences are counted, and the first described.
type offences struct {
	count int
	first []string
}

func (o *offences) add(format string, args ...any) {
	o.count++
	if len(o.first) < examples {
		o.first = append(o.first, fmt.Sprintf(format, args...))
	}
}

// NewLedger keeps account of n messages of so many keys: message i belongs to key
// i % keys, and each key is in the order of its numbers. With keys of 0 no order
// is checked.
func NewLedger(n, keys int) *Ledger {
	if n < 0 || n > math.MaxInt32 || keys < 0 {
		panic(fmt.Sprintf("faultlab: a ledger of %d messages and %d keys", n, keys))
	}
	l := &Ledger{keys: keys, entries: make([]entry, n), settling: make([]int32, keys)}
	for i := range l.settling {
		l.settling[i] = -1
	}
	return l
}

// Event is what can happen to a message.
type Event string

// The events of a message.
const (
	Published    Event = "published"     // the broker confirmed it
	Started      Event = "started"       // a handler took it up
	Finished     Event = "finished"      // a handler succeeded
	Settled      Event = "settled"       // its settlement was accepted, as far as the adapter can tell
	DeadLettered Event = "dead-lettered" // it was found in, or moved to, the dead-letter queue
)

// Line is the line with which another process tells of an event.
func (e Event) Line(seq int) string { return fmt.Sprintf("%s %d", e, seq) }

// Record enters the event of a line that Event.Line made. It returns false for
// any other line, which a child may print for purposes of its own.
func (l *Ledger) Record(line string) bool {
	var event Event
	var seq int
	if n, err := fmt.Sscanf(line, "%s %d", &event, &seq); n != 2 || err != nil || event.Line(seq) != line {
		return false
	}
	return l.enter(event, seq)
}

// Published enters that the broker has confirmed a message. One whose fate is
// unknown is not entered: it may come or not.
func (l *Ledger) Published(seq int) { l.enter(Published, seq) }

// Started enters that a handler takes up a message.
func (l *Ledger) Started(seq int) { l.enter(Started, seq) }

// Finished enters that a handler has succeeded with a message.
func (l *Ledger) Finished(seq int) { l.enter(Finished, seq) }

// Settled enters that the settlement of a message was accepted.
func (l *Ledger) Settled(seq int) { l.enter(Settled, seq) }

// DeadLettered enters that a message has come into the dead-letter queue.
func (l *Ledger) DeadLettered(seq int) { l.enter(DeadLettered, seq) }

func (l *Ledger) enter(event Event, seq int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq < 0 || seq >= len(l.entries) {
		l.strays++
		if len(l.foreign) < examples {
			l.foreign = append(l.foreign, event.Line(seq))
		}
		return true
	}
	e := &l.entries[seq]
	before := e.published && !e.done()
	switch event {
	case Published:
		e.published = true
	case Started:
		if prev := seq - l.keys; l.keys > 0 && prev >= 0 && !l.entries[prev].done() {
			l.order.add("%d started before %d was done", seq, prev)
		}
		e.started += increment(e.started, math.MaxUint16)
	case Finished:
		e.finished += increment(e.finished, math.MaxUint16)
	case Settled:
		l.settle(e, seq)
	case DeadLettered:
		e.dead += increment(e.dead, math.MaxUint8)
	default:
		return false
	}
	if after := e.published && !e.done(); after != before {
		if after {
			l.open++
		} else {
			l.open--
		}
	}
	return true
}

func (l *Ledger) settle(e *entry, seq int) {
	e.settled = true
	if l.keys == 0 {
		return
	}
	last := &l.settling[seq%l.keys]
	if int(*last) > seq {
		l.order.add("%d settled after %d", seq, *last)
		return
	}
	*last = int32(seq)
}

func increment[T uint8 | uint16](v, limit T) T {
	if v == limit {
		return 0
	}
	return 1
}

// Allow raises the bound of duplicates by n for a cause, such as a connection
// cut with n messages in flight. Without it none is allowed.
func (l *Ledger) Allow(n int, cause string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.allowed += n
	l.causes = append(l.causes, fmt.Sprintf("%d: %s", n, cause))
}

// Open is how many messages are confirmed and neither finished nor dead-lettered.
func (l *Ledger) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// Wait returns when no message is open; what is published later is not waited
// for. Its error says what was still open at the end of ctx.
func (l *Ledger) Wait(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for l.Open() > 0 {
		select {
		case <-ctx.Done():
			lost := l.Lost()
			return fmt.Errorf("wait for the outcome of all that was published: %s are open: %w",
				some(lost), context.Cause(ctx))
		case <-tick.C:
		}
	}
	return nil
}

// Lost returns the messages that were confirmed and neither finished nor
// dead-lettered, in order.
func (l *Ledger) Lost() []int {
	return l.pick(func(e *entry) bool { return e.published && !e.done() })
}

// Repeated returns the messages that had more than one outcome, in order: they
// finished again, or were dead-lettered as well or again.
func (l *Ledger) Repeated() []int {
	return l.pick(func(e *entry) bool { return e.outcomes() > 1 })
}

// Unsettled returns the messages that have finished and whose settlement was
// never accepted, in order. Where a connection was lost in between there are
// some, and each must have been repeated or be found in the queue.
func (l *Ledger) Unsettled() []int {
	return l.pick(func(e *entry) bool { return e.done() && !e.settled })
}

func (l *Ledger) pick(ok func(*entry) bool) []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	var seqs []int
	for i := range l.entries {
		if ok(&l.entries[i]) {
			seqs = append(seqs, i)
		}
	}
	return seqs
}

// Totals are the sums of a ledger.
type Totals struct {
	Published    int // messages confirmed
	Started      int // runs of handlers
	Finished     int // runs that succeeded
	Settled      int // messages whose settlement was accepted
	DeadLettered int // arrivals in the dead-letter queue
	Duplicates   int // outcomes beyond the first of their message
}

// Totals sums the ledger up.
func (l *Ledger) Totals() Totals {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.totals()
}

func (l *Ledger) totals() Totals {
	var t Totals
	for i := range l.entries {
		e := &l.entries[i]
		t.Started += int(e.started)
		t.Finished += int(e.finished)
		t.DeadLettered += int(e.dead)
		t.Duplicates += max(0, e.outcomes()-1)
		if e.published {
			t.Published++
		}
		if e.settled {
			t.Settled++
		}
	}
	return t
}

// Runs is how often handlers have taken up and finished a message.
func (l *Ledger) Runs(seq int) (started, finished int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[seq]
	return int(e.started), int(e.finished)
}

// Check returns nil if nothing was lost, no more was repeated than was allowed,
// no order was broken and nothing arrived that is not in the ledger; else all of
// it, with examples.
func (l *Ledger) Check() error {
	lost, repeated := l.Lost(), l.Repeated()
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.totals()
	var faults []error
	if len(lost) > 0 {
		faults = append(faults, fmt.Errorf("%s of %d confirmed are lost", some(lost), t.Published))
	}
	if t.Duplicates > l.allowed {
		bound := "none is allowed"
		if len(l.causes) > 0 {
			bound = fmt.Sprintf("%d are allowed (%s)", l.allowed, strings.Join(l.causes, "; "))
		}
		faults = append(faults, fmt.Errorf("%s had %d outcomes too many, %s", some(repeated), t.Duplicates, bound))
	}
	if l.order.count > 0 {
		faults = append(faults, fmt.Errorf("the order of keys was broken %d times (%s)", l.order.count, list(l.order.first, l.order.count)))
	}
	if l.strays > 0 {
		faults = append(faults, fmt.Errorf("%d events of messages that are not in the ledger (%s)", l.strays, list(l.foreign, l.strays)))
	}
	return errors.Join(faults...)
}

// some says how many messages and names the first.
func some(seqs []int) string {
	var names []string
	for _, seq := range seqs[:min(examples, len(seqs))] {
		names = append(names, fmt.Sprint(seq))
	}
	return fmt.Sprintf("%d messages (%s)", len(seqs), list(names, len(seqs)))
}

// list joins the examples of n.
func list(first []string, n int) string {
	if n > len(first) {
		first = append(slices.Clone(first), "...")
	}
	return strings.Join(first, ", ")
}
