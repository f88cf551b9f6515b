package middleware

import "time"

// pass is the leave to make one call.
type pass struct {
	generation uint64
	probe      bool
}

// parked says for how long a message is to be parked, and why.
type parked struct {
	wait  time.Duration
	state BreakerState
}

// admit lets a call pass or says how its message is to be parked.
func (b *Breaker) admit(now time.Time) (p pass, q parked, admitted bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == BreakerOpen {
		if left := b.openUntil.Sub(now); left > 0 {
			// Later rather than at once when it ends, and not all in one moment:
			// only a few will find a place.
			return pass{}, parked{left + between(0, b.openFor/10), BreakerOpen}, false
		}
		b.enter(BreakerHalfOpen)
		b.limit, b.streak = b.o.Probes, 0
	}
	if b.state == BreakerHalfOpen {
		if b.probing >= b.limit {
			brief := min(time.Second, b.o.OpenFor)
			return pass{}, parked{between(brief/2, brief), BreakerHalfOpen}, false
		}
		b.probing++
		return pass{b.generation, true}, parked{}, true
	}
	return pass{b.generation, false}, parked{}, true
}

// done takes the result of a call that was admitted.
func (b *Breaker) done(p pass, r result, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.probe {
		b.probing--
	}
	if p.generation != b.generation || r == neutral {
		return
	}
	if b.state == BreakerHalfOpen {
		b.probed(r, now)
		return
	}
	b.calls.add(r == failed, now)
	calls, failures := b.calls.sum(now)
	if r == failed && calls >= b.o.MinCalls && float64(failures) >= b.o.Ratio*float64(calls) {
		b.open(b.o.OpenFor, now)
	}
}

// probed takes the result of a probe. Lock held.
func (b *Breaker) probed(r result, now time.Time) {
	if r == failed {
		b.open(min(2*b.openFor, b.o.MaxOpenFor), now)
		return
	}
	b.streak++
	if b.streak < b.limit {
		return
	}
	if b.limit < b.o.RampTo {
		b.limit, b.streak = min(2*b.limit, b.o.RampTo), 0
		return
	}
	b.enter(BreakerClosed)
	b.calls.clear()
}

// open opens the breaker. Lock held.
func (b *Breaker) open(d time.Duration, now time.Time) {
	b.openFor, b.openUntil = d, now.Add(d)
	b.enter(BreakerOpen)
}

// enter changes the state. Lock held.
func (b *Breaker) enter(s BreakerState) {
	c := BreakerChange{Name: b.o.Name, From: b.state, To: s}
	if s == BreakerOpen {
		c.OpenFor = b.openFor
	}
	b.state = s
	b.generation++
	if b.o.OnStateChange != nil {
		b.announce.add(c)
	}
}
