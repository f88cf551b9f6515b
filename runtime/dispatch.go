package runtime

import "time"

// workers is the set of long-lived goroutines that run handlers. It grows to its
// limit when there is work for one more, and stays.
//
// One worker at a time is being woken: when it has taken its task and there is
// more, it wakes the next. A burst of quick messages is then drained by the few
// workers that the processors can really run, instead of waking all of them for
// one message each.
type workers struct {
	limit   int
	spawn   func(*worker)
	count   int
	running int       // those that run a handler
	idle    []*worker // the one that went idle last is woken first
	waking  bool      // somebody was woken or spawned and has not looked yet
}

type worker struct{ wake chan struct{} }

// wake gets one more worker going if there is work for it. Lock held.
func (w *workers) wake(f *flight) {
	if w.waking || !f.runnable() {
		return
	}
	if n := len(w.idle); n > 0 {
		x := w.idle[n-1]
		w.idle = w.idle[:n-1]
		w.waking = true
		x.wake <- struct{}{} // has room: x is idle and was signalled by nobody else
		return
	}
	if w.count < w.limit {
		w.count++
		w.waking = true
		w.spawn(&worker{wake: make(chan struct{}, 1)})
	}
}

// wakeAll wakes every idle worker, to look again or to leave. Lock held.
func (w *workers) wakeAll() {
	for _, x := range w.idle {
		x.wake <- struct{}{}
	}
	w.idle = w.idle[:0]
}

// runnable says whether a worker would find something to run. Lock held.
func (f *flight) runnable() bool {
	return f.ready.n > 0 && (f.batch.size == 0 || f.batch.due(f))
}

// await blocks until there is something to run, and moves it to running: one
// task, or a batch. It returns nothing when the consumer has stopped. Lock held
// on entry and on return.
//
// now is the time of the call; the time of the start is returned, so that a
// worker that never waits reads the clock once per message.
func (f *flight) await(w *worker, into []*task, now time.Duration) ([]*task, time.Duration) {
	for {
		if f.runnable() {
			into = f.take(into, now)
			f.workers.wake(f)
			return into, now
		}
		if f.stopped {
			return nil, now
		}
		f.workers.idle = append(f.workers.idle, w)
		f.mu.Unlock()
		<-w.wake
		f.mu.Lock()
		f.workers.waking = false
		now = f.now()
	}
}

// take moves the next task to running, or as many as make a batch: with each
// task of a key go those that wait behind it. Lock held; something is ready.
func (f *flight) take(into []*task, now time.Duration) []*task {
	limit := max(f.batch.size, 1)
	for len(into) < limit && f.ready.n > 0 {
		t := f.ready.pop()
		into = append(into, t)
		f.start(t, now)
		if t.queue == nil || limit == 1 || t.attempt > 1 {
			continue // what has failed before runs alone: what follows it may be in vain
		}
		for len(into) < limit && t.queue.waiting.n > 0 {
			x := t.queue.waiting.pop()
			f.start(x, now)
			into = append(into, x)
		}
	}
	f.workers.running++
	f.lastStart = now
	if f.ready.n > 0 {
		f.readyAt = f.ready.head.received
		f.batch.arm(f)
	}
	return into
}

// start moves t to running and gives it the context of its attempt. Lock held.
func (f *flight) start(t *task, now time.Duration) {
	f.set(t, stateRunning)
	t.started = now
	if t.queue != nil {
		t.queue.running++
	}
	a := &attempt{c: f.c, t: t, d: t.d, number: t.attempt, record: t.record}
	a.parent = f.base
	a.deadline = f.epoch.Add(f.attemptEnd(t, now))
	t.running = a
}

// attemptEnd is when an attempt that starts now must end: after Timeout, and in
// any case in time to be settled before the foreseeable end of its lease.
func (f *flight) attemptEnd(t *task, now time.Duration) time.Duration {
	end := t.leaseLimit
	if f.timeout > 0 {
		end = min(end, now+f.timeout)
	}
	return end
}

// buffered is how many messages may wait for a worker although none is free:
// those that the workers start within bufferFor. While handlers are slow it is 0,
// so that no message ages here that another process could take; while they are
// quick it keeps them busy during a round trip to the broker. Lock held.
func (f *flight) buffered() int {
	room := f.limit - f.workers.limit
	if f.handlerTime == unknown {
		return 0
	}
	ahead := float64(f.workers.limit) * float64(bufferFor) / float64(max(f.handlerTime, 1))
	return int(min(ahead, float64(room)))
}

// bufferFor hides a round trip to a broker in the same region with room to spare;
// a second of it would be a second that a message can wait here beside an idle
// process.
const bufferFor = 50 * time.Millisecond

// trimAfter is how long a message may be ready here before the buffer is looked
// at again: long beside bufferFor, so that it only happens when handlers have
// become much slower than they were.
const trimAfter = time.Second

// armTrim sets the alarm for the message that is ready first. Lock held.
func (f *flight) armTrim(now time.Duration) {
	if f.trims && f.ready.n > 0 && f.trimTimer.pos == 0 {
		f.alarms.set(&f.trimTimer, max(f.readyAt, now-trimAfter)+trimAfter)
		notify(f.wakeup.alarm)
	}
}

// trim gives back what waits here although others could take it: all workers are
// busy, the first that is ready has waited for long, and there is more than
// buffered would ask for by now. Lock held.
func (f *flight) trim(now time.Duration) {
	defer f.armTrim(now + time.Millisecond)
	if f.draining || f.workers.running < f.workers.limit || f.ready.n == 0 || now-f.readyAt < trimAfter {
		return
	}
	f.handlerTime = max(f.handlerTime, now-f.lastStart) // nothing has told of those that run
	keep := f.buffered()
	var kept list
	for t := f.ready.pop(); t != nil; t = f.ready.pop() {
		if kept.n < keep {
			kept.push(t)
			continue
		}
		f.giveBack(t)
		f.giveBackFollowers(t)
	}
	f.ready = kept
}
