package runtime

import (
	"context"
	"sync"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// flight is the table of all that is received and not yet settled, and the only
// place where a task changes its state. Fetch adds, workers take and finish, the
// settler confirms, the keeper and the sessions take away what was lost. Its lock
// is never held across a handler, an adapter call or a blocking send.
//
// Every delivery enters once (add) and leaves once (done), and both move the
// ledger under the lock: that is why the ledger balances at every moment.
type flight struct {
	c        *Consumer
	base     context.Context // of every attempt
	epoch    time.Time       // when the consumer's clock was 0
	timeout  time.Duration   // Options.Timeout
	extends  bool            // Capabilities.Extends
	trims    bool            // Capabilities.ReleaseIsFree: trim may give back
	ordered  bool
	limit    int // Options.MaxInFlight
	maxBytes int
	workers  workers
	wakeup   signals
	batch    batching

	mu        sync.Mutex
	all       ring // every task in flight, oldest first
	states    [stateCount]int
	bytes     int
	ready     list
	readyAt   time.Duration // when the oldest of ready became so; for batches and health
	keys      map[string]*keyQueue
	spare     []*keyQueue // empty ones to use again
	settling  list        // decided, waiting for the settler
	leases    timerHeap
	alarms    timerHeap
	trimTimer timer
	// extending waits for the extender; losses are leases lost by reason, not yet
	// reported.
	extending []*task
	losses    map[string]int
	draining  bool // nothing may start any more
	stopped   bool // workers leave

	handlerTime time.Duration // moving average, for how far to buffer ahead; unknown at first
	lastStart   time.Duration // when an attempt last began
	unsettled   int           // tasks of which a settlement has failed
	hungry      bool          // fetch waits for credit
	ledger      ledger
}

const unknown time.Duration = -1

// signals wake the stages' goroutines. Each has room for one, so that sending
// never blocks and a signal sent while its reader is busy is not lost.
type signals struct {
	fetch, settle, lease, extend, alarm chan struct{}
	idle                                chan struct{} // running fell to zero while draining
	empty                               chan struct{} // in flight fell to zero while draining
}

func newSignals() signals {
	c := func() chan struct{} { return make(chan struct{}, 1) }
	return signals{fetch: c(), settle: c(), lease: c(), extend: c(), alarm: c(), idle: c(), empty: c()}
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// ring is a doubly linked list of tasks through before and after.
type ring struct{ first, last *task }

func (r *ring) push(t *task) {
	t.before, t.after = r.last, nil
	if r.last == nil {
		r.first = t
	} else {
		r.last.after = t
	}
	r.last = t
}

func (r *ring) remove(t *task) {
	if t.before == nil {
		r.first = t.after
	} else {
		t.before.after = t.after
	}
	if t.after == nil {
		r.last = t.before
	} else {
		t.after.before = t.before
	}
	t.before, t.after = nil, nil
}

// now reads the consumer's clock. Durations since a monotonic reading cost half
// of what comparing wall times does, and no change of the wall clock moves them.
func (f *flight) now() time.Duration { return time.Since(f.epoch) }

// set moves t to a state and keeps the counts. Lock held.
func (f *flight) set(t *task, s state) {
	f.states[t.state]--
	f.states[s]++
	t.state = s
}

// inFlight is how many tasks are received and not settled. Lock held.
func (f *flight) inFlight() int {
	n := 0
	for _, count := range f.states[:stateDone] {
		n += count
	}
	return n
}

// add takes in what was received; when it is not wanted any more it is given back
// at once. It returns false when the consumer has stopped: a Receive that did not
// return in time brings what nobody can settle any more.
func (f *flight) add(tasks []task, giveBack bool, now time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return false
	}
	for i := range tasks {
		t := &tasks[i]
		f.states[t.state]++ // the zero state, ready
		f.all.push(t)
		f.bytes += t.size
		f.ledger.received++
		if t.leaseEnd > 0 {
			f.leases.set(&t.lease, t.lease.at)
		}
		switch {
		case t.verdict.action != 0: // decided at receipt: it is out of budget
			f.settle(t)
		case giveBack || f.draining:
			f.giveBack(t)
		default:
			f.enqueue(t, now)
		}
	}
	if x := f.leases.first(); x != nil && x.t.received == now {
		notify(f.wakeup.lease) // the earliest of all is a new one
	}
	f.workers.wake(f)
	return true
}

// enqueue makes t ready, or lets it wait behind its key. Lock held.
func (f *flight) enqueue(t *task, now time.Duration) {
	if f.ordered && t.d.Key != "" {
		if q := f.keys[t.d.Key]; q != nil {
			t.queue = q
			f.set(t, stateBlocked)
			q.waiting.push(t)
			return
		}
		t.queue = f.newQueue(t.d.Key)
		t.queue.head = t
	}
	f.makeReady(t, now)
}

func (f *flight) makeReady(t *task, now time.Duration) {
	f.set(t, stateReady)
	if f.ready.n == 0 {
		f.readyAt = now
	}
	f.ready.push(t)
	f.batch.arm(f)
	f.armTrim(now)
}

func (f *flight) newQueue(key string) *keyQueue {
	var q *keyQueue
	if n := len(f.spare); n > 0 {
		q, f.spare = f.spare[n-1], f.spare[:n-1]
	} else {
		q = &keyQueue{}
	}
	q.key = key
	f.keys[key] = q
	return q
}

// nextOfKey lets the next message of t's key run: t is done with. Lock held.
func (f *flight) nextOfKey(t *task, now time.Duration) {
	q := t.queue
	if q == nil {
		return
	}
	t.queue = nil
	if q.head == t {
		q.head = nil
	}
	f.advance(q, now)
}

// advance makes the next of a key ready if nothing holds it back, and drops the
// queue when there is none. Lock held.
func (f *flight) advance(q *keyQueue, now time.Duration) {
	if q.head != nil || q.running > 0 {
		return
	}
	if next := q.waiting.pop(); next != nil {
		q.head = next
		f.makeReady(next, now)
		f.workers.wake(f)
		return
	}
	if f.keys[q.key] != q {
		return // dropped already
	}
	delete(f.keys, q.key)
	if len(f.spare) < f.limit {
		f.spare = append(f.spare, q)
	}
}

// putBack lets a task that ran in a batch wait again, before all others of its
// key. Lock held.
func (f *flight) putBack(t *task) {
	t.queue.running--
	t.running, t.ended = nil, false
	f.set(t, stateBlocked)
	t.queue.waiting.pushFront(t)
}

// giveBackFollowers releases what waits behind t, because t itself goes back to
// the broker and would come again after them. Lock held.
func (f *flight) giveBackFollowers(t *task) {
	if t.queue == nil {
		return
	}
	for x := t.queue.waiting.pop(); x != nil; x = t.queue.waiting.pop() {
		x.queue = nil
		f.giveBack(x)
		if !f.c.cap.KeyOrder {
			x.verdict.after = min(t.verdict.after, f.c.cap.MaxDelay) // not before it
		}
	}
}

// cut takes t out of the middle of its key, and gives back what waits behind it:
// t will come again after them. Lock held.
func (f *flight) cut(t *task) {
	q := t.queue
	t.queue = nil
	for _, x := range q.waiting.cut(t) {
		x.queue = nil
		f.giveBack(x)
	}
}

// giveBack releases a task that has no worker. Lock held.
func (f *flight) giveBack(t *task) {
	t.verdict = verdict{action: broker.Release, attempt: t.attempt, record: t.record}
	f.settle(t)
}

// settle hands t with its verdict to the settler. Lock held.
func (f *flight) settle(t *task) {
	f.set(t, stateSettling)
	f.settling.push(t)
	notify(f.wakeup.settle)
}

// finish takes a task back from its worker with the verdict of the attempt. Lock
// held.
func (f *flight) finish(t *task, v verdict, now time.Duration) {
	if t.state == stateDone {
		return // shutdown gave up on it long ago
	}
	f.average(now - t.started)
	t.running = nil
	t.ended = false
	t.record = v.record
	t.attempt = v.attempt
	t.verdict = v
	if q := t.queue; q != nil {
		q.running--
		if v.action != broker.Ack && q.head == nil {
			q.head = t // it ran in a batch behind others of its key, which are done
		}
	}
	switch {
	case t.lost != nil:
		f.doneLost(t, now)
	case v.follows: // only while draining
		f.giveBack(t)
	case v.hold && !f.draining:
		f.set(t, stateHeld)
		t.keep()
		if v.action == broker.Retry {
			t.held += v.after
			f.ledger.hold(v.class)
		}
		f.alarms.set(&t.alarm, now+v.after)
		if f.alarms.first() == &t.alarm {
			notify(f.wakeup.alarm)
		}
	case v.hold:
		f.giveBack(t)
	default:
		f.settle(t)
		switch v.action {
		case broker.Ack:
			f.nextOfKey(t, now)
		case broker.Retry, broker.Release, broker.DeadLetter:
			// What follows waits until this is safe: given back before its head it
			// could come again before it.
		}
	}
}

// handedBack follows the finish of a worker's tasks. Lock held.
func (f *flight) handedBack() {
	if f.draining && f.workers.running == 0 {
		notify(f.wakeup.idle)
	}
	f.offerCredit()
}

// average feeds the moving average of how long attempts take. Lock held.
func (f *flight) average(d time.Duration) {
	if f.handlerTime == unknown {
		f.handlerTime = d
		return
	}
	f.handlerTime += (d - f.handlerTime) / 16
}

// done takes a settled task out of flight. Lock held.
func (f *flight) done(t *task, now time.Duration) {
	f.leases.remove(&t.lease)
	f.alarms.remove(&t.alarm)
	if a := t.verdict.action; a == broker.Retry || a == broker.Release {
		f.giveBackFollowers(t)
	}
	f.nextOfKey(t, now)
	f.set(t, stateDone)
	f.states[stateDone]-- // nobody counts those
	f.all.remove(t)
	if t.settles > 0 {
		f.unsettled--
	}
	f.bytes -= t.size
	if f.draining && f.all.first == nil {
		notify(f.wakeup.empty)
	}
}

// doneLost is done for a task whose lease is gone. What waits behind it goes
// back too: its head will come again, perhaps elsewhere. Lock held.
func (f *flight) doneLost(t *task, now time.Duration) {
	f.giveBackFollowers(t)
	f.leave(t, now)
}

// leave counts t as lost and takes it out of flight. Lock held.
func (f *flight) leave(t *task, now time.Duration) {
	f.ledger.lost++
	f.done(t, now)
	f.offerCredit()
}

// lose marks t's lease as gone. A task without a worker leaves at once; a
// running one is cancelled by the caller, with the attempt that is returned, and
// leaves when its handler has returned. Lock held.
func (f *flight) lose(t *task, cause error, reason string, now time.Duration) *attempt {
	if t.lost != nil || t.state == stateDone {
		return nil
	}
	t.lost = cause
	if f.losses == nil {
		f.losses = map[string]int{}
	}
	f.losses[reason]++
	f.leases.remove(&t.lease)
	switch t.state {
	case stateRunning:
		t.ended = true
		return t.running
	case stateReady:
		f.ready.remove(t)
		f.doneLost(t, now)
	case stateBlocked:
		f.cut(t)
		f.leave(t, now)
	case stateHeld:
		f.doneLost(t, now)
	case stateSettling: // the settler finds out when it gets to it
	case stateDone, stateCount:
	}
	return nil
}

// drain stops everything that has not started: it is released.
func (f *flight) drain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.draining = true
	f.ready = list{}
	for _, q := range f.keys {
		q.waiting = list{}
	}
	for t := f.all.first; t != nil; t = t.after {
		switch t.state {
		case stateReady, stateBlocked, stateHeld:
			f.alarms.remove(&t.alarm)
			if t.state == stateBlocked {
				t.queue = nil // it is not the head of its key
			}
			f.giveBack(t)
		case stateRunning, stateSettling, stateDone, stateCount:
		}
	}
	f.workers.wakeAll() // a batch that waits to be filled will not be
	notify(f.wakeup.alarm)
	if f.workers.running == 0 {
		notify(f.wakeup.idle)
	}
	if f.all.first == nil {
		notify(f.wakeup.empty)
	}
}

// ledger counts deliveries by what became of them; see Ledger.
type ledger struct {
	received int64
	lost     int64
	dropped  int64
	settled  [broker.Release + 1]int64
	byClass  map[outcomeKey]int64
	held     map[failure.Class]int64 // retries that were held, which are no settlements
}

type outcomeKey struct {
	action broker.Action
	class  failure.Class
}
