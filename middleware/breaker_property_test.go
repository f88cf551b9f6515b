package middleware_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/middleware"
)

// Whatever calls take and return: half open, never more probes run at once than
// the round allows, those of an earlier half-open included; open, no call starts;
// changes come in order; and a dependency that works again gets the breaker
// closed.
func TestBreakerNeverLetsMoreProbesThroughThanAllowed(t *testing.T) {
	const seeds = 1000
	for seed := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) { storm(t, seed) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// watched follows a breaker's states by its announcements.
type watched struct {
	t       *testing.T
	mu      sync.Mutex
	rng     *rand.Rand
	o       middleware.BreakerOptions
	state   middleware.BreakerState
	changed time.Time
	openFor time.Duration
	limit   int // half open: the most that the successes so far allow
	streak  int
	round   int // counts half-opens
	probing int
	sick    bool
}

func (w *watched) change(c middleware.BreakerChange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.From != w.state {
		w.t.Errorf("change from %s announced in state %s", c.From, w.state)
	}
	if c.To == middleware.BreakerHalfOpen {
		w.limit, w.streak = w.o.Probes, 0
		w.round++
		if open := time.Since(w.changed); open < w.openFor {
			w.t.Errorf("half open after %v, opened for %v", open, w.openFor)
		}
	}
	w.state, w.changed, w.openFor = c.To, time.Now(), c.OpenFor
}

func (w *watched) handle(context.Context, *broker.Delivery) error {
	w.mu.Lock()
	round, probe := w.round, w.state == middleware.BreakerHalfOpen
	if w.state == middleware.BreakerOpen {
		w.t.Error("a call while open")
	}
	if probe {
		if w.probing++; w.probing > w.limit {
			w.t.Errorf("%d probes at once, want at most %d", w.probing, w.limit)
		}
	}
	took := time.Duration(1+w.rng.IntN(3000)) * time.Millisecond
	fails := w.sick && w.rng.IntN(4) > 0
	neutral := w.rng.IntN(10) == 0
	w.mu.Unlock()

	time.Sleep(took)

	w.mu.Lock()
	defer w.mu.Unlock()
	if probe {
		w.probing--
	}
	switch {
	case neutral:
		return errHandler
	case fails:
		return errBankDown
	}
	if probe && round == w.round && w.state == middleware.BreakerHalfOpen {
		if w.streak++; w.streak == w.limit {
			w.limit, w.streak = min(2*w.limit, w.o.RampTo), 0
		}
	}
	return nil
}

func storm(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 5))
	w := &watched{t: t, rng: rng, state: middleware.BreakerClosed, changed: time.Now()}
	w.o = middleware.BreakerOptions{
		Name: "bank", MinCalls: 1 + rng.IntN(6), Probes: 1 + rng.IntN(3), OnStateChange: w.change,
		OpenFor: time.Duration(1+rng.IntN(5)) * time.Second, MaxOpenFor: 10 * time.Second,
	}
	w.o.RampTo = w.o.Probes + rng.IntN(8)
	b := middleware.NewBreaker(w.o)
	h := wrap(t, w.handle, b.Middleware())

	var wg sync.WaitGroup
	healthy := time.Now().Add(40 * time.Second)
	end := healthy.Add(2 * time.Minute)
	wg.Go(func() {
		for time.Now().Before(healthy) {
			w.mu.Lock()
			w.sick = !w.sick
			pause := time.Duration(1+rng.IntN(10)) * time.Second
			w.mu.Unlock()
			time.Sleep(pause)
		}
		w.mu.Lock()
		w.sick = false
		w.mu.Unlock()
	})
	for i := range 12 {
		wg.Go(func() {
			time.Sleep(time.Duration(i)) // no two at the same instant, where who comes first would be open
			for time.Now().Before(end) {
				wait := 50 * time.Millisecond
				if o := outcomeOf(h(t.Context(), message("1", ""))); o != nil {
					wait = max(o.After, wait)
				}
				time.Sleep(wait)
			}
		})
	}
	wg.Wait()
	if s := b.State(); s != middleware.BreakerClosed {
		t.Errorf("two minutes after the dependency recovered the breaker is %s", s)
	}
}
