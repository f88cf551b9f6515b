package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/middleware"
	"github.com/anyqueue/anyqueue/runtime"
)

// Messages start no faster than the rate, evenly, and with Burst after a quiet
// time.
func TestRateLimitSpacesStarts(t *testing.T) {
	for _, burst := range []int{0, 5} {
		t.Run(fmt.Sprint("burst ", burst), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := wrap(t, succeed, middleware.RateLimit(middleware.RateLimitOptions{PerSecond: 10, Burst: burst}))
				start := time.Now()
				for range 21 {
					if err := h(t.Context(), message("1", "")); err != nil {
						t.Fatal(err)
					}
				}
				want := time.Duration(21-max(burst, 1)) * 100 * time.Millisecond
				if took := time.Since(start).Round(time.Millisecond); took != want {
					t.Errorf("21 starts took %v, want %v", took, want)
				}
			})
		})
	}
}

// A message whose turn is far away takes no worker and spends no attempt, and the
// ones that are sent away come back one after the other, not all at once.
func TestRateLimitGivesBackWhatWouldWaitTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := wrap(t, succeed, middleware.RateLimit(middleware.RateLimitOptions{PerSecond: 2}))
		var (
			wg       sync.WaitGroup
			mu       sync.Mutex
			started  int
			returned = make(map[time.Duration]int)
		)
		start := time.Now()
		for range 20 {
			wg.Go(func() {
				err := h(t.Context(), message("1", ""))
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					started++
					return
				}
				wantReleased(t, err, time.Second, 10*time.Second)
				if waited := time.Since(start); waited != 0 {
					t.Errorf("given back after %v in a worker", waited)
				}
				returned[outcomeOf(err).After.Round(time.Millisecond)]++
			})
		}
		wg.Wait()
		if started != 3 { // at 0, 0.5 and 1 s
			t.Errorf("%d started within MaxWait, want 3", started)
		}
		for after, n := range returned {
			if n > 1 {
				t.Errorf("%d messages come back at the same time, after %v", n, after)
			}
		}
	})
}

// However many are sent away, none is sent away for longer than a minute or so.
func TestRateLimitSendsNothingAwayForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := wrap(t, succeed, middleware.RateLimit(middleware.RateLimitOptions{PerSecond: 1, MaxWait: -1}))
		if err := h(t.Context(), message("1", "")); err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			wantReleased(t, h(t.Context(), message("1", "")), time.Second, time.Minute)
		}
	})
}

// Peer trap 25: a wait that ignores its context holds up shutdown. A wait that is
// cancelled is a release, not a failure, and its turn goes to others.
func TestRateLimitWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := middleware.RateLimitOptions{PerSecond: 1, MaxWait: 10 * time.Second}
		h := wrap(t, succeed, middleware.RateLimit(o))
		if err := h(t.Context(), message("1", "")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(100*time.Millisecond, func() { cancel(runtime.ErrShutdown) })
		start := time.Now()
		err := h(ctx, message("2", ""))
		if took := time.Since(start); took != 100*time.Millisecond {
			t.Errorf("waited %v after the cancellation", took-100*time.Millisecond)
		}
		wantReleased(t, err, 0, 0)
		if !errors.Is(err, runtime.ErrShutdown) {
			t.Errorf("%v does not say why", err)
		}
		if err := h(t.Context(), message("3", "")); err != nil || time.Since(start) != time.Second {
			t.Errorf("the next started after %v (%v), want 1s: the cancelled turn was not given back", time.Since(start), err)
		}
	})
}

// A turn that comes after the attempt's deadline is not waited for.
func TestRateLimitDoesNotWaitBeyondTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := wrap(t, succeed, middleware.Timeout(500*time.Millisecond), middleware.RateLimit(middleware.RateLimitOptions{PerSecond: 1}))
		if err := h(t.Context(), message("1", "")); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		wantReleased(t, h(t.Context(), message("2", "")), 900*time.Millisecond, 1100*time.Millisecond)
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited %v for nothing", waited)
		}
	})
}

// Each key has a limit of its own.
func TestRateLimitPerKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := middleware.RateLimitOptions{PerSecond: 1, MaxWait: -1, Key: func(d *broker.Delivery) string { return d.ID }}
		h := wrap(t, succeed, middleware.RateLimit(o))
		for _, tenant := range []string{"a", "b", "c"} {
			if err := h(t.Context(), message(tenant, "")); err != nil {
				t.Errorf("%s was held back by others: %v", tenant, err)
			}
			wantReleased(t, h(t.Context(), message(tenant, "")), time.Second, time.Second)
		}
	})
}

// The limits that are kept are bounded. One in use is never forgotten: that would
// let its key start anew; a further key waits instead.
func TestRateLimitKeepsABoundedNumberOfKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := middleware.RateLimitOptions{
			PerSecond: 1, Burst: 3, MaxKeys: 2, MaxWait: -1,
			Key: func(d *broker.Delivery) string { return d.ID },
		}
		h := wrap(t, succeed, middleware.RateLimit(o))
		deliver := func(key string) error { return h(t.Context(), message(key, "")) }
		for _, key := range []string{"a", "a", "a", "b"} {
			if err := deliver(key); err != nil {
				t.Fatal(err)
			}
		}
		wantReleased(t, deliver("c"), 3*time.Second, 3300*time.Millisecond)
		wantReleased(t, deliver("a"), time.Second, time.Second)
		time.Sleep(3 * time.Second)
		if err := deliver("c"); err != nil {
			t.Errorf("a key whose turn has come: %v", err)
		}
	})
}

// Whatever the schedule, no window sees more starts than rate and burst allow.
func TestRateLimitIsNeverExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, burst = 50, 7
		h := wrap(t, func(context.Context, *broker.Delivery) error { return nil },
			middleware.RateLimit(middleware.RateLimitOptions{PerSecond: perSecond, Burst: burst}))
		var (
			wg      sync.WaitGroup
			starts  [10]atomic.Int64 // by second
			origin  = time.Now()
			started atomic.Int64
		)
		for i := range 200 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 7 * time.Millisecond)
				for {
					err := h(t.Context(), message("1", ""))
					if err == nil {
						starts[min(int(time.Since(origin)/time.Second), 9)].Add(1)
						started.Add(1)
						return
					}
					time.Sleep(max(outcomeOf(err).After, 100*time.Millisecond))
				}
			})
		}
		wg.Wait()
		for s := range starts {
			if n := starts[s].Load(); n > perSecond+burst {
				t.Errorf("%d starts in second %d, want at most %d", n, s, perSecond+burst)
			}
		}
		if started.Load() != 200 || time.Since(origin) > 6*time.Second {
			t.Errorf("%d of 200 started in %v", started.Load(), time.Since(origin))
		}
	})
}

// Every fault in the options is reported at once.
func TestRateLimitReportsEveryFault(t *testing.T) {
	wantFaults(t, middleware.RateLimit(middleware.RateLimitOptions{}).Err, "PerSecond")
	wantFaults(t, middleware.RateLimit(middleware.RateLimitOptions{PerSecond: math.Inf(1), Burst: -1, MaxKeys: -1}).Err,
		"PerSecond", "Burst", "MaxKeys", "MaxKeys")
	wantFaults(t, middleware.RateLimit(middleware.RateLimitOptions{PerSecond: math.NaN()}).Err, "PerSecond")
	wantFaults(t, middleware.RateLimit(middleware.RateLimitOptions{PerSecond: 1e-9, MaxWait: time.Second}).Err)
}
