package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/idempotency"
	"github.com/anyqueue/anyqueue/middleware"
	"github.com/anyqueue/anyqueue/runtime"
)

// flaky is a store that fails at random: before a call, after it, or by being
// slow. It notes the claims, by key and token, whose mark was never stored.
type flaky struct {
	idempotency.Store
	mu       sync.Mutex
	rng      *rand.Rand
	faults   float64
	unmarked map[string]map[string]bool
}

// fault says what happens to a call.
func (f *flaky) fault() (before, after bool, delay time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rng.Float64() > f.faults {
		return false, false, 0
	}
	switch f.rng.IntN(3) {
	case 0:
		return true, false, 0
	case 1:
		return false, true, 0
	default:
		return false, false, time.Duration(1+f.rng.IntN(4000)) * time.Millisecond
	}
}

// call makes a call with its fault.
func (f *flaky) call(ctx context.Context, call func() error) error {
	before, after, delay := f.fault()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if before {
		return errStore
	}
	if err := call(); err != nil {
		return err
	}
	if after {
		return errStore
	}
	return nil
}

func (f *flaky) Claim(ctx context.Context, c idempotency.Claim, d time.Duration) (a idempotency.Answer, err error) {
	err = f.call(ctx, func() error {
		a, err = f.Store.Claim(ctx, c, d)
		return err
	})
	return a, err
}

func (f *flaky) Extend(ctx context.Context, c idempotency.Claim, d time.Duration) error {
	return f.call(ctx, func() error { return f.Store.Extend(ctx, c, d) })
}

func (f *flaky) Release(ctx context.Context, c idempotency.Claim) error {
	return f.call(ctx, func() error { return f.Store.Release(ctx, c) })
}

func (f *flaky) Complete(ctx context.Context, c idempotency.Claim, d time.Duration, r []byte) error {
	marked := false
	err := f.call(ctx, func() error {
		err := f.Store.Complete(ctx, c, d, r)
		marked = err == nil
		return err
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unmarked[c.Key] == nil {
		f.unmarked[c.Key] = make(map[string]bool)
	}
	if marked {
		delete(f.unmarked[c.Key], c.Token)
	} else {
		f.unmarked[c.Key][c.Token] = true
	}
	return err
}

// unmarkedOf is how many claims of a key ended in work without a mark.
func (f *flaky) unmarkedOf(key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.unmarked[key])
}

// works is the handler: it fails in every way, and notes what it did.
type works struct {
	t       *testing.T
	mu      sync.Mutex
	rng     *rand.Rand
	running map[string]bool
	done    map[string]int
}

func (w *works) handle(ctx context.Context, d *broker.Delivery) error {
	w.mu.Lock()
	if w.running[d.ID] {
		w.t.Errorf("%s is handled twice at once", d.ID)
	}
	w.running[d.ID] = true
	// Not at the same instant as a lost claim: who comes first would be open.
	took, ending := time.Duration(1+w.rng.IntN(90))*time.Second+time.Nanosecond, w.rng.IntN(8)
	w.mu.Unlock()

	var err error
	select {
	case <-time.After(took):
	case <-ctx.Done(): // a lost claim
		err = context.Cause(ctx)
	}
	w.mu.Lock()
	w.running[d.ID] = false
	if err == nil && ending > 3 {
		w.done[d.ID]++
	}
	w.mu.Unlock()
	switch {
	case err != nil:
		return err
	case ending == 0:
		panic("of the handler")
	case ending == 1:
		return goexit(ctx, d)
	case ending == 2:
		return runtime.Release(time.Second, "busy")
	case ending == 3:
		return errHandler
	}
	return nil
}

func (w *works) doneOf(id string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.done[id]
}

// Whatever store and handler do: no message is acknowledged before its work is
// done, no work runs twice at the same time, every message gets done, and work is
// done twice only where its mark could not be stored.
func TestDedupeLosesNothingAndRepeatsNothing(t *testing.T) {
	const seeds = 2000
	for seed := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) { deliverAll(t, seed) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func deliverAll(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 2))
	store := &flaky{
		Store: newStore(t), rng: rand.New(rand.NewPCG(seed, 3)),
		faults: []float64{0, 0.1, 0.4}[rng.IntN(3)], unmarked: make(map[string]map[string]bool),
	}
	work := &works{t: t, rng: rand.New(rand.NewPCG(seed, 4)), running: make(map[string]bool), done: make(map[string]int)}
	o := day
	o.Lease, o.Retention, o.Scope = 30*time.Second, 1000*time.Hour, "s"
	h := wrap(t, work.handle, middleware.Dedupe(store, o))

	var wg sync.WaitGroup
	for i := range 4 {
		id := fmt.Sprint(i)
		for range 1 + rng.IntN(3) { // published, or delivered, that often
			begin := time.Duration(rng.IntN(100)) * time.Second
			wg.Go(func() {
				time.Sleep(begin)
				for range 1000 {
					ended, err := contained(t.Context(), h, message(id, "body "+id))
					if ended == "return" && err == nil {
						if work.doneOf(id) == 0 {
							t.Errorf("%s was acknowledged and never done", id)
						}
						return
					}
					wait := 5 * time.Second
					if o, ok := errors.AsType[*runtime.Outcome](err); ok {
						wait = max(o.After, 100*time.Millisecond)
					}
					time.Sleep(wait)
				}
				t.Errorf("%s never ended", id)
			})
		}
	}
	wg.Wait()
	for i := range 4 {
		id := fmt.Sprint(i)
		done := work.doneOf(id)
		if done == 0 {
			t.Errorf("%s was lost", id)
		}
		if unmarked := store.unmarkedOf("s:" + id); done > 1+unmarked {
			t.Errorf("%s was done %d times, and only %d times its mark was not stored", id, done, unmarked)
		}
	}
}
