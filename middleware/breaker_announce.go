package middleware

import "sync"

// announcements hands changes of state to a hook in order and one at a time,
// with no lock held while the hook runs: whoever finds nobody at it delivers
// what there is.
type announcements struct {
	mu         sync.Mutex
	waiting    []BreakerChange
	delivering bool
}

// add queues a change. It is called under the breaker's lock, which gives the
// order; that lock comes before this one.
func (a *announcements) add(c BreakerChange) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting = append(a.waiting, c)
}

// deliver calls the hook for what waits. No lock is held.
func (a *announcements) deliver(hook func(BreakerChange)) {
	if hook == nil {
		return
	}
	for {
		a.mu.Lock()
		if a.delivering || len(a.waiting) == 0 {
			a.mu.Unlock()
			return
		}
		c := a.waiting[0]
		a.waiting = a.waiting[1:]
		a.delivering = true
		a.mu.Unlock()
		a.call(hook, c)
	}
}

func (a *announcements) call(hook func(BreakerChange), c BreakerChange) {
	defer func() { // also when the hook panics: the next change is delivered
		a.mu.Lock()
		defer a.mu.Unlock()
		a.delivering = false
	}()
	hook(c)
}
