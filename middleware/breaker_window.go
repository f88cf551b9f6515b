package middleware

import "time"

// window counts the calls of a length of time, in ten steps that fall out one by
// one. The breaker's lock guards it.
type window struct {
	start time.Time
	step  time.Duration
	slots [10]slot
}

type slot struct {
	at              int64 // number of the step that it counts
	calls, failures int
}

func newWindow(d time.Duration, start time.Time) *window {
	w := &window{start: start, step: max(d/10, 1)}
	w.clear()
	return w
}

func (w *window) clear() {
	for i := range w.slots {
		w.slots[i] = slot{at: -1}
	}
}

// at is the number of the step that now lies in; a clock that is behind the start
// counts as at the start.
func (w *window) at(now time.Time) int64 { return max(int64(now.Sub(w.start)/w.step), 0) }

func (w *window) add(failed bool, now time.Time) {
	at := w.at(now)
	s := &w.slots[at%int64(len(w.slots))]
	if s.at != at {
		*s = slot{at: at}
	}
	s.calls++
	if failed {
		s.failures++
	}
}

func (w *window) sum(now time.Time) (calls, failures int) {
	oldest := w.at(now) - int64(len(w.slots)) + 1
	for _, s := range w.slots {
		if s.at >= max(oldest, 0) {
			calls += s.calls
			failures += s.failures
		}
	}
	return calls, failures
}
