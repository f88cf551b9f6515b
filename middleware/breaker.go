package middleware

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/runtime"
)

// BreakerState is what a [Breaker] does with calls.
type BreakerState string

// The states of a breaker.
const (
	// BreakerClosed: calls pass, and are counted.
	BreakerClosed BreakerState = "closed"
	// BreakerOpen: no call passes; messages are parked until the time is over.
	BreakerOpen BreakerState = "open"
	// BreakerHalfOpen: a limited number of calls passes at once, more with each
	// round of successes, until the breaker closes; a failure opens it again.
	BreakerHalfOpen BreakerState = "half_open"
)

// Breaker spares a dependency that is down. Make one for each dependency with
// [NewBreaker], and share it between the consumers that call it. Its methods are
// safe for concurrent use.
//
// Closed, it counts the results of the calls of the last Window. When enough of
// them failed it opens: handlers are not called, and their messages are given
// back until OpenFor is over, with no attempt spent. Then it is half open: Probes
// handlers may run at once, and the other messages are parked for a moment. After
// as many successes in a row as may run at once that number doubles, and at
// RampTo the breaker closes, so that a dependency that comes back is not hit by
// all workers at once. One failure opens it again, each time for twice as long,
// up to MaxOpenFor.
//
// It has no timer and no goroutine: messages drive it. A call that began before
// the state changed has no say in the new state. In half-open a probe that hangs
// holds its place, so bound the handler with [Timeout] or
// [runtime.Options].Timeout.
type Breaker struct {
	o   BreakerOptions
	err error

	mu         sync.Mutex
	state      BreakerState
	generation uint64 // counts changes of state; the result of an earlier one is void
	calls      *window
	openUntil  time.Time
	openFor    time.Duration // how long it opened last
	limit      int           // half open: how many probes may run at once
	probing    int           // probes that run, of whatever generation
	streak     int           // half open: successes in a row at this limit
	announce   announcements
}

// NewBreaker returns a closed breaker. Faults in the options are reported by
// runtime.New, as those of other middleware.
func NewBreaker(o BreakerOptions) *Breaker {
	b := &Breaker{err: o.validate(), state: BreakerClosed}
	b.o = o
	b.openFor = o.OpenFor
	b.calls = newWindow(o.Window, time.Now())
	return b
}

// CircuitBreaker is NewBreaker(o).Middleware(), for a breaker that one consumer
// uses.
func CircuitBreaker(o BreakerOptions) runtime.Middleware {
	return NewBreaker(o).Middleware()
}

// State returns what the next call would find.
func (b *Breaker) State() BreakerState {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == BreakerOpen && !now.Before(b.openUntil) {
		return BreakerHalfOpen
	}
	return b.state
}

// Middleware puts b around the handlers of a consumer. It may be called several
// times. Place it inside Dedupe and RateLimit, next to the handler, so that it
// sees the dependency's results and nothing else's.
func (b *Breaker) Middleware() runtime.Middleware {
	return runtime.Middleware{
		Name:   "circuit breaker " + b.o.Name,
		Unique: true, // twice around one handler, its own probe would be in its way
		Err:    b.err,
		Wrap: func(next runtime.Handler) runtime.Handler {
			return func(ctx context.Context, d *broker.Delivery) error { return b.handle(ctx, d, next) }
		},
	}
}

func (b *Breaker) handle(ctx context.Context, d *broker.Delivery, next runtime.Handler) error {
	p, q, admitted := b.admit(time.Now())
	if !admitted {
		b.announce.deliver(b.o.OnStateChange)
		return runtime.Release(q.wait, fmt.Sprintf("circuit breaker %s is %s", b.o.Name, q.state))
	}
	// A panic or Goexit says nothing of the dependency, but its place is free.
	result := neutral
	defer func() {
		b.done(p, result, time.Now())
		b.announce.deliver(b.o.OnStateChange)
	}()
	b.announce.deliver(b.o.OnStateChange)
	err := next(ctx, d)
	result = b.judge(ctx, err)
	return err
}

// result is what a call says about the dependency.
type result uint8

const (
	neutral result = iota // nothing
	success
	failed
)

func (b *Breaker) judge(ctx context.Context, err error) result {
	if err == nil {
		return success
	}
	// What ends because the consumer stops or lost its lease is nobody's failure.
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, runtime.ErrTimeout) {
		return neutral
	}
	if b.o.Counts(err) {
		return failed
	}
	return neutral
}

// counts is the default of BreakerOptions.Counts.
func (o *BreakerOptions) counts(err error) bool {
	switch failure.Classify(err) {
	case failure.ClassDependency, failure.ClassTimeout:
		name := failure.DependencyName(err)
		return name == "" || name == o.Name
	default:
		return false
	}
}
