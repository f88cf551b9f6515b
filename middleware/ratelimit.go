package middleware

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/runtime"
)

// RateLimitOptions configures [RateLimit]. PerSecond is required.
type RateLimitOptions struct {
	// PerSecond is how many messages may start per second, on average; required,
	// positive, may be a fraction. It counts this process alone: divide what the
	// dependency allows by the number of processes.
	PerSecond float64
	// Burst is how many may start at once after a quiet time. Default 1: they
	// start evenly spaced, and no second ever sees more than PerSecond.
	Burst int
	// MaxWait is the longest that a message waits for its turn with a worker in
	// hand. One that would have to wait longer is given back to come again later,
	// with no attempt spent. Default 1 s; negative: never wait, always give back.
	MaxWait time.Duration
	// Key gives each key a limit of its own: a tenant, an endpoint. Default: one
	// limit for all.
	Key func(d *broker.Delivery) string
	// MaxKeys bounds how many limits are kept; default 10,000. A limit that had
	// time to fill up again is forgotten, which changes nothing. While all are in
	// use, messages of further keys are given back. Only with Key.
	MaxKeys int
}

const (
	defaultMaxWait = time.Second
	defaultMaxKeys = 10_000
	// longestPark is the longest that a message is sent away for: the rate may be
	// free long before, when others fail or the process is one of fewer.
	longestPark = time.Minute
)

// validate reports every fault at once and fills in the defaults.
func (o *RateLimitOptions) validate() error {
	var f faults
	f.check(o.PerSecond > 0 && !math.IsInf(o.PerSecond, 1), "PerSecond", o.PerSecond,
		"must be positive and finite; leave the middleware out for no limit")
	f.check(o.Burst >= 0, "Burst", o.Burst, "must be at least 1; leave it 0 for the default of 1")
	f.check(o.MaxKeys >= 0, "MaxKeys", o.MaxKeys,
		fmt.Sprintf("must be at least 1; leave it 0 for the default of %d", defaultMaxKeys))
	f.check(o.MaxKeys == 0 || o.Key != nil, "MaxKeys", o.MaxKeys, "has no meaning without Key; set Key or leave it 0")
	if o.Burst == 0 {
		o.Burst = 1
	}
	switch {
	case o.MaxWait == 0:
		o.MaxWait = defaultMaxWait
	case o.MaxWait < 0:
		o.MaxWait = 0
	}
	if o.MaxKeys == 0 {
		o.MaxKeys = defaultMaxKeys
	}
	return f.err()
}

// RateLimit lets messages start at a limited rate. A message whose turn comes
// within MaxWait waits for it; any other is given back until about its turn, at
// most a minute, so that no worker is taken by waiting and no attempt is spent.
// A wait ends at once when the context does: the message is given back, which is
// no failure either.
//
// Consumers that are given the same Middleware share its limit. Put it inside
// Dedupe, so that duplicates take no turn.
func RateLimit(o RateLimitOptions) runtime.Middleware {
	m := runtime.Middleware{Name: "rate limit", Err: o.validate()}
	if m.Err != nil {
		return m
	}
	limits := newLimits(o)
	m.Wrap = func(next runtime.Handler) runtime.Handler {
		return func(ctx context.Context, d *broker.Delivery) error {
			key := ""
			if o.Key != nil {
				key = o.Key(d)
			}
			if err := limits.wait(ctx, key); err != nil {
				return err
			}
			return next(ctx, d)
		}
	}
	return m
}
