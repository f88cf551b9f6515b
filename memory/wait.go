package memory

import (
	"slices"
	"time"
)

// line is where Receives wait for messages, first come, first served.
//
// Only the one in front is woken. When it leaves, with messages or because its
// context ended, it wakes the next if messages are left: so n messages wake at
// most n, one after the other, and none is woken in vain.
type line struct{ waiters []*waiter }

type waiter struct {
	sub  *Subscription
	wake chan struct{} // capacity 1
}

func (l *line) join(s *Subscription) *waiter {
	w := &waiter{sub: s, wake: make(chan struct{}, 1)}
	l.waiters = append(l.waiters, w)
	return w
}

// front reports whether w, which may be nil for somebody who does not wait yet,
// is next.
func (l *line) front(w *waiter) bool {
	return len(l.waiters) == 0 || l.waiters[0] == w
}

func (l *line) leave(w *waiter) {
	if i := slices.Index(l.waiters, w); w != nil && i >= 0 {
		l.waiters = slices.Delete(l.waiters, i, i+1)
	}
}

// rouse wakes the waiters of one subscription, wherever they stand, to tell them
// that it is closed or disconnected.
func (l *line) rouse(s *Subscription) {
	for _, w := range l.waiters {
		if w.sub == s {
			w.signal()
		}
	}
}

func (w *waiter) signal() {
	select {
	case w.wake <- struct{}{}:
	default: // already signalled
	}
}

// wake lets the front of the line look at what is ready.
func (q *queue) wake() {
	if q.ready > 0 && len(q.line.waiters) > 0 {
		q.line.waiters[0].signal()
	}
}

// alarm calls a queue when its next lease or delay ends, while somebody waits
// for that; otherwise advance is called by whoever comes next.
type alarm struct {
	timer *time.Timer
	at    instant // what it is set for; 0 when it is not set
}

// watch arms the alarms that a waiter of q depends on: that of q, and those of
// queues that would dead-letter to it.
func (q *queue) watch(now instant) {
	q.arm(now)
	for _, source := range q.sources {
		if source.opts.DeliveryLimit > 0 {
			source.arm(now)
		}
	}
}

// watched reports whether anybody waits for what becomes due in q.
func (q *queue) watched() bool {
	return len(q.line.waiters) > 0 ||
		q.opts.DeliveryLimit > 0 && q.dead != nil && len(q.dead.line.waiters) > 0
}

// arm sets the alarm to the next thing that becomes due, if anybody waits. It may
// be set too early (a lease that was settled since) and then finds nothing.
func (q *queue) arm(now instant) {
	if q.b.closed || !q.watched() {
		return
	}
	at := forever
	if until, _, ok := q.leases.min(); ok {
		at = instant(until)
	}
	if due, _, ok := q.delayed.min(); ok {
		at = min(at, instant(due))
	}
	if at == forever || (q.alarm.at != 0 && q.alarm.at <= at) {
		return
	}
	q.alarm.at = at
	switch {
	case q.alarm.timer == nil:
		q.b.alarms.Add(1)
		q.alarm.timer = time.AfterFunc(at-now, q.ring)
	case !q.alarm.timer.Reset(at - now): // its callback has begun, or it was stopped
		q.b.alarms.Add(1)
	}
}

func (q *queue) disarm() {
	if q.alarm.timer != nil && q.alarm.timer.Stop() {
		q.b.alarms.Done()
	}
	q.alarm.at = 0
}

// ring is the alarm's callback.
func (q *queue) ring() {
	defer q.b.alarms.Done()
	q.b.mu.Lock()
	defer q.b.mu.Unlock()
	if q.b.closed {
		return
	}
	_, now := q.b.now()
	q.alarm.at = 0
	q.advance(now)
	q.wake()
	q.arm(now)
}
