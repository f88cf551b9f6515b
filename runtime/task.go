package runtime

import (
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// state is where a task stands between its receipt and its settlement.
type state uint8

const (
	stateReady    state = iota // waits for a worker
	stateBlocked               // waits behind another message of its key
	stateRunning               // a worker runs the handler
	stateHeld                  // waits for its next attempt, leased, without a worker
	stateSettling              // its outcome is decided and not yet confirmed
	stateDone                  // no longer in flight
	stateCount
)

// task is one delivery in flight. Everything in it belongs to flight.mu, but for
// the delivery, which never changes, and the running attempt's own fields.
//
// A Receive's tasks are allocated together: a message costs one allocation here,
// its attempt's context.
type task struct {
	d    *broker.Delivery
	size int

	state  state
	next   *task // in the list it stands in
	before *task // in the list of all that is in flight
	after  *task
	queue  *keyQueue // of its key; nil when it has no order to keep

	base    int             // number of the attempt that the broker delivered it for
	attempt int             // number of the current or next attempt
	record  *failure.Record // of the failures so far
	held    time.Duration   // spent in holds between failed attempts

	received time.Duration // on the consumer's clock, like all below
	started  time.Duration // when the current attempt began
	ended    bool          // its context was cancelled
	reported bool          // its handler was reported as stuck

	running *attempt        // the current one
	msg     *broker.Message // of d, which the handler has too

	lease timer // when the keeper must look at it
	alarm timer // when a hold or the pause before settling again is over

	leaseEnd time.Duration // when it is lost unless extended; 0: never
	leaseLen time.Duration // what was granted last
	leaseCap time.Duration // no extension goes beyond this
	// leaseLimit is when the task must be out of our hands because its lease cannot
	// be made to last longer: a margin before the cap, or before the end of a lease
	// that nobody can extend. It never changes.
	leaseLimit time.Duration
	extending  bool  // the extender has it
	lost       error // why the lease was lost; nil while it lives

	verdict        verdict
	settles        int // failed tries to settle
	settleErr      error
	unsettledSince time.Duration
}

// verdict is what is to become of a task after an attempt.
type verdict struct {
	action  broker.Action
	after   time.Duration
	hold    bool // Retry or Release carried out here, not by the broker
	attempt int  // the number of the next attempt
	class   failure.Class
	record  *failure.Record
	err     error
	dropped bool
	lost    bool // its lease was lost while it ran, as far as its context knows
	follows bool // its key's earlier item failed in the same batch: run it again behind that
}

// keep gives t a delivery of its own for the time after a hold. It tells the
// handler of the next attempt; and the deliveries of a Receive, and often their
// bodies, lie together in memory, where one that stays would keep all of them.
func (t *task) keep() {
	d := *t.d
	d.Message = d.Message.Clone()
	d.Attempt, d.Failure = t.attempt, t.record
	t.d, t.msg = &d, d.Message
}

// list is a singly linked queue of tasks. A task stands in one list at a time.
type list struct {
	head, tail *task
	n          int
}

func (l *list) push(t *task) {
	t.next = nil
	if l.tail == nil {
		l.head = t
	} else {
		l.tail.next = t
	}
	l.tail = t
	l.n++
}

func (l *list) pushFront(t *task) {
	t.next = l.head
	l.head = t
	if l.tail == nil {
		l.tail = t
	}
	l.n++
}

func (l *list) pop() *task {
	t := l.head
	if t == nil {
		return nil
	}
	l.head = t.next
	if l.head == nil {
		l.tail = nil
	}
	t.next = nil
	l.n--
	return t
}

// cut takes out t and all behind it, and returns those behind it.
func (l *list) cut(t *task) (behind []*task) {
	var kept list
	found := false
	for x := l.pop(); x != nil; x = l.pop() {
		switch {
		case x == t:
			found = true
		case found:
			behind = append(behind, x)
		default:
			kept.push(x)
		}
	}
	*l = kept
	return behind
}

// remove takes t out, wherever it stands. It is for rare events: it looks from
// the front.
func (l *list) remove(t *task) {
	var prev *task
	for x := l.head; x != nil; prev, x = x, x.next {
		if x != t {
			continue
		}
		if prev == nil {
			l.head = x.next
		} else {
			prev.next = x.next
		}
		if l.tail == x {
			l.tail = prev
		}
		x.next = nil
		l.n--
		return
	}
}

// keyQueue holds what waits behind the one message of its key that is ready,
// running, held or not yet safely settled: the head. A batch takes several
// messages of a key along, all of which are running then.
type keyQueue struct {
	key     string
	head    *task
	running int
	waiting list
}

// timer is an entry of a timerHeap. A zero timer is in none.
type timer struct {
	at  time.Duration
	pos int // index in the heap + 1; 0: not in it
	t   *task
}

// timerHeap is a binary heap, the earliest first. Entries that come in order of
// time, as leases and timeouts of equal length do, are added without moving any
// other.
type timerHeap []*timer

func (h *timerHeap) set(x *timer, at time.Duration) {
	if x.pos != 0 {
		h.remove(x)
	}
	x.at = at
	*h = append(*h, x)
	x.pos = len(*h)
	h.up(x.pos - 1)
}

func (h *timerHeap) remove(x *timer) {
	if x.pos == 0 {
		return
	}
	i, last := x.pos-1, len(*h)-1
	if i != last {
		h.swap(i, last)
	}
	(*h)[last] = nil
	*h = (*h)[:last]
	x.pos = 0
	if i != last {
		h.down(i)
		h.up(i)
	}
}

// first returns the earliest entry, nil when the heap is empty.
func (h timerHeap) first() *timer {
	if len(h) == 0 {
		return nil
	}
	return h[0]
}

func (h timerHeap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i+1, j+1
}

func (h timerHeap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].at <= h[i].at {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h timerHeap) down(i int) {
	for {
		least := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(h) && h[child].at < h[least].at {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}
