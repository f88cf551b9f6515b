package runtime

import (
	"time"
)

// never is what an alarm clock's work returns when nothing is due.
const never = time.Duration(-1)

// alarmClock calls work when it is kicked and when the time that work returned
// last is over, until stop is closed. One timer serves all that is in a heap.
func alarmClock(stop, kick <-chan struct{}, work func() time.Duration) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return
		case <-kick:
		case <-timer.C:
		}
		if d := work(); d == never {
			timer.Stop()
		} else {
			timer.Reset(d)
		}
	}
}

// untilFirst is how long it takes until the first entry is due.
func untilFirst(h timerHeap, now time.Duration) time.Duration {
	if len(h) == 0 {
		return never
	}
	return max(h[0].at-now, 0)
}

// wakeUp ends holds, pauses of the settler and the gathering of batches when
// their time is over, until stop is closed.
func (c *Consumer) wakeUp(stop <-chan struct{}) {
	f := c.flight
	alarmClock(stop, f.wakeup.alarm, func() time.Duration {
		now := c.now()
		f.mu.Lock()
		defer f.mu.Unlock()
		for x := f.alarms.first(); x != nil && x.at <= now; x = f.alarms.first() {
			f.alarms.remove(x)
			f.ring(x, now)
		}
		return untilFirst(f.alarms, now)
	})
}

// ring acts on an alarm. Lock held.
func (f *flight) ring(x *timer, now time.Duration) {
	switch t := x.t; {
	case x == &f.trimTimer:
		f.trim(now)
	case t == nil: // a batch has waited long enough, or another than it was set for waits
		f.batch.arm(f)
	case t.state == stateHeld:
		f.makeReady(t, now)
	case t.state == stateSettling:
		f.settling.push(t)
		notify(f.wakeup.settle)
	}
	f.workers.wake(f)
}
