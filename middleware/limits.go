package middleware

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/anyqueue/anyqueue/runtime"
)

// limits keeps one limit per key, at most as many as the options allow.
type limits struct {
	o        RateLimitOptions
	interval time.Duration // between two starts
	idle     time.Duration // after its last use a limit is full again, as if new

	mu     sync.Mutex
	byKey  map[string]*list.Element
	recent *list.List // of *limit, the one used last in front
}

type limit struct {
	key     string
	used    time.Time
	limiter *rate.Limiter
	// parked is the turn of the last message that was sent away, so that the next
	// one is sent to a later turn; guarded by limits.mu.
	parked time.Time
}

func newLimits(o RateLimitOptions) *limits {
	interval := seconds(1 / o.PerSecond)
	return &limits{
		o:        o,
		interval: interval,
		idle:     seconds(float64(o.Burst)/o.PerSecond) + o.MaxWait,
		byKey:    make(map[string]*list.Element),
		recent:   list.New(),
	}
}

// seconds is s as a duration; the longest one when s exceeds it.
func seconds(s float64) time.Duration {
	const longest = 100 * 365 * 24 * time.Hour
	return time.Duration(min(s*float64(time.Second), float64(longest)))
}

// wait returns nil when it is the message's turn, or the outcome that gives the
// message back.
func (l *limits) wait(ctx context.Context, key string) error {
	now := time.Now()
	lim, busy := l.get(key, now)
	if lim == nil {
		return runtime.Release(spread(min(busy, longestPark)), fmt.Sprintf(
			"rate limit: all %d limits are in use; raise MaxKeys", l.o.MaxKeys))
	}
	turn := lim.limiter.ReserveN(now, 1)
	wait := turn.DelayFrom(now)
	deadline, bounded := ctx.Deadline()
	if wait > l.o.MaxWait || bounded && now.Add(wait).After(deadline) {
		turn.CancelAt(now)
		return runtime.Release(l.park(lim, wait, now), "rate limit: the next turn is too far away")
	}
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		turn.Cancel()
		return release(0, fmt.Errorf("rate limit: the context ended while waiting for a turn: %w", context.Cause(ctx)))
	}
}

// park returns how long to send a message away for whose turn would be in wait.
// Each gets a turn of its own, one interval after the one before, so that they
// come back at the rate at which they can start.
func (l *limits) park(lim *limit, wait time.Duration, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	turn := now.Add(wait)
	if next := lim.parked.Add(l.interval); turn.Before(next) {
		turn = next
	}
	if away := turn.Sub(now); away <= longestPark {
		lim.parked = turn
		return away
	}
	return between(longestPark/2, longestPark) // more than can be given a turn
}

// get returns the limit of key, or nil and when one will be free.
func (l *limits) get(key string, now time.Time) (lim *limit, busy time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.byKey[key]; ok {
		l.recent.MoveToFront(e)
		lim = e.Value.(*limit)
		lim.used = now
		return lim, 0
	}
	// Two at a time: one makes the room that this key takes, the other lets the
	// memory of a burst of keys shrink again.
	for range 2 {
		oldest := l.recent.Back()
		if oldest == nil {
			break
		}
		old := oldest.Value.(*limit)
		if busy = old.used.Add(l.idle).Sub(now); busy > 0 {
			break
		}
		l.recent.Remove(oldest)
		delete(l.byKey, old.key)
	}
	if len(l.byKey) >= l.o.MaxKeys {
		return nil, busy
	}
	lim = &limit{key: key, used: now, limiter: rate.NewLimiter(rate.Limit(l.o.PerSecond), l.o.Burst)}
	l.byKey[key] = l.recent.PushFront(lim)
	return lim, 0
}
