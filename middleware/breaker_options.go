package middleware

import (
	"fmt"
	"time"
)

// BreakerOptions configures [NewBreaker]. Name is required.
type BreakerOptions struct {
	// Name is the dependency's name, in reasons, in changes of state, and as
	// failure.DependencyName knows it; required.
	Name string
	// Ratio of failures to calls at which the breaker opens. Default 0.5; above 0,
	// at most 1.
	Ratio float64
	// MinCalls is how many calls of the window must have ended before it can open.
	// Default 10; at least 1. Where fewer messages than that come in a Window, it
	// never opens, and backoff does its work alone.
	MinCalls int
	// Window is how far back calls are counted, in steps of a tenth of it. Default
	// 10 s; at least 10 ns.
	Window time.Duration
	// OpenFor is how long the breaker stays open the first time. Default 5 s.
	OpenFor time.Duration
	// MaxOpenFor bounds how long it stays open when it opens again and again,
	// each time for twice as long. Default 1 min; at least OpenFor.
	MaxOpenFor time.Duration
	// Probes is how many handlers may run at once when it becomes half open.
	// Default 1.
	Probes int
	// RampTo is how many may run at once in the last round before it closes.
	// Default 16, or Probes where that is more; at least Probes, which means: close
	// after the first round.
	RampTo int
	// Counts says whether an error is a failure of the dependency. Default: one of
	// class dependency or timeout, unless failure.DependencyName says that it was
	// another dependency. Timeouts count, because a dependency that hangs does more
	// harm than one that refuses. An error that does not count says nothing either
	// way; only nil is a success. It is called from many goroutines.
	Counts func(err error) bool
	// OnStateChange is told of every change, one at a time and in order, by the
	// goroutine of some message: let it be quick. It may call State.
	OnStateChange func(BreakerChange)
}

// BreakerChange is a change of a breaker's state.
type BreakerChange struct {
	// Name is the dependency's name.
	Name string
	// From and To are the states before and after.
	From, To BreakerState
	// OpenFor is for how long it opened; 0 when it did not open.
	OpenFor time.Duration
}

// validate reports every fault at once and fills in the defaults.
func (o *BreakerOptions) validate() error {
	const ten = 10 * time.Nanosecond
	var f faults
	f.check(o.Name != "", "Name", nil, "is empty; name the dependency that the breaker stands for")
	f.check(o.Ratio >= 0 && o.Ratio <= 1, "Ratio", o.Ratio, "must be above 0 and at most 1; leave it 0 for the default of 0.5")
	f.check(o.MinCalls >= 0, "MinCalls", o.MinCalls, "must be at least 1; leave it 0 for the default of 10")
	f.check(o.Window == 0 || o.Window >= ten, "Window", o.Window, "must be at least 10ns; leave it 0 for the default of 10s")
	f.check(o.OpenFor >= 0, "OpenFor", o.OpenFor, "must be positive; leave it 0 for the default of 5s")
	f.check(o.Probes >= 0, "Probes", o.Probes, "must be at least 1; leave it 0 for the default of 1")

	defaultTo(&o.Ratio, 0.5)
	defaultTo(&o.MinCalls, 10)
	defaultTo(&o.Window, 10*time.Second)
	defaultTo(&o.OpenFor, 5*time.Second)
	defaultTo(&o.MaxOpenFor, max(time.Minute, o.OpenFor))
	defaultTo(&o.Probes, 1)
	defaultTo(&o.RampTo, max(16, o.Probes))
	f.check(o.MaxOpenFor >= o.OpenFor, "MaxOpenFor", o.MaxOpenFor, fmt.Sprintf("must be at least OpenFor (%s)", o.OpenFor))
	f.check(o.RampTo >= o.Probes, "RampTo", o.RampTo, fmt.Sprintf("must be at least Probes (%d)", o.Probes))
	if o.Counts == nil {
		defaults := *o
		o.Counts = defaults.counts
	}
	return f.err()
}

// defaultTo sets what is zero.
func defaultTo[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
