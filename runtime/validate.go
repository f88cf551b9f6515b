package runtime

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// Bounds and defaults, documented at the fields of Options.
const (
	defaultConcurrency  = 10
	maxConcurrency      = 100_000
	inFlightPerWorker   = 16
	minMaxInFlight      = 64
	defaultMaxBytes     = 64 << 20
	defaultMaxLease     = time.Hour
	defaultMaxAbandoned = 5
	defaultBatchSize    = 10
	defaultBatchWait    = 100 * time.Millisecond
	defaultDrain        = 30 * time.Second
	defaultStop         = 5 * time.Second
	defaultStall        = time.Minute
	defaultStatsEvery   = 15 * time.Second
	defaultAttempts     = 5
	maxAttempts         = 1_000
	// maxDuration bounds every duration that is added to others, so that "no limit"
	// written as the largest number overflows nothing.
	maxDuration = 50 * 365 * 24 * time.Hour
)

var defaultBackoff = Backoff{Initial: 200 * time.Millisecond, Max: time.Minute, Factor: 2, Jitter: 1}

// withDefaults fills in what is zero and does not depend on the broker.
func (o Options) withDefaults() Options {
	or(&o.Concurrency, defaultConcurrency)
	or(&o.MaxInFlight, max(inFlightPerWorker*o.Concurrency, minMaxInFlight))
	or(&o.MaxInFlightBytes, defaultMaxBytes)
	or(&o.Ordering, OrderNone)
	or(&o.MaxAbandoned, defaultMaxAbandoned)
	or(&o.BatchSize, min(defaultBatchSize, max(o.MaxInFlight, 1)))
	or(&o.BatchWait, defaultBatchWait)
	or(&o.DrainTimeout, defaultDrain)
	or(&o.StopTimeout, defaultStop)
	or(&o.StallAfter, defaultStall)
	or(&o.StatsEvery, defaultStatsEvery)
	or(&o.Retry.MaxAttempts, defaultAttempts)
	o.Retry.Backoff = o.Retry.Backoff.orDefault(defaultBackoff)
	for _, d := range []*time.Duration{
		&o.Timeout, &o.MaxLease, &o.BatchWait, &o.DrainTimeout, &o.StopTimeout, &o.StallAfter, &o.StatsEvery, &o.Retry.MaxElapsed, &o.Retry.MaxHold,
	} {
		*d = min(*d, maxDuration)
	}
	return o
}

func or[T comparable](field *T, def T) {
	var zero T
	if *field == zero {
		*field = def
	}
}

// Validate reports every fault of the options themselves, as joined
// [*broker.FieldError]. [New] calls it, and adds what only the broker's
// capabilities can tell.
func (o Options) Validate() error {
	var f faults
	d := o.withDefaults()
	f.within("Concurrency", d.Concurrency, 1, maxConcurrency, defaultConcurrency)
	f.check(d.MaxInFlight >= d.Concurrency, "MaxInFlight", o.MaxInFlight,
		fmt.Sprintf("must be at least Concurrency (%d); leave it out for %d", d.Concurrency, max(inFlightPerWorker*d.Concurrency, minMaxInFlight)))
	f.check(d.MaxInFlightBytes >= 1, "MaxInFlightBytes", o.MaxInFlightBytes, "must be at least 1; leave it out for 64 MiB")
	f.check(d.Ordering == OrderNone || d.Ordering == OrderKey, "Ordering", o.Ordering, `must be "none" or "key"`)
	f.check(o.Timeout >= 0, "Timeout", o.Timeout, "must not be negative; leave it out for no limit")
	f.check(o.MaxLease >= 0, "MaxLease", o.MaxLease, "must not be negative; leave it out for 1h")
	if o.MaxLease > 0 {
		f.check(o.Timeout < o.MaxLease, "MaxLease", o.MaxLease,
			fmt.Sprintf("must exceed Timeout (%s), or a handler would lose its message while it still has time", o.Timeout))
	} else {
		f.check(o.Timeout < defaultMaxLease, "Timeout", o.Timeout, "must be below MaxLease (1h by default); raise MaxLease too")
	}
	f.check(d.BatchSize >= 1 && d.BatchSize <= d.MaxInFlight, "BatchSize", o.BatchSize,
		fmt.Sprintf("must be 1 to MaxInFlight (%d), or a batch could never be filled", d.MaxInFlight))
	f.check(o.StopTimeout >= 0, "StopTimeout", o.StopTimeout, "must not be negative; leave it out for 5s")
	f.check(o.StallAfter >= 0, "StallAfter", o.StallAfter, "must not be negative; leave it out for 1m")
	f.retry(o.Retry)
	f.middleware(o.Middleware)
	return f.err()
}

// faults collects them all.
type faults []error

func (f *faults) err() error { return errors.Join(*f...) }

func (f *faults) check(ok bool, field string, value any, problem string) {
	if !ok {
		*f = append(*f, &broker.FieldError{Field: field, Value: value, Problem: problem})
	}
}

func (f *faults) within(field string, v, low, high, def int) {
	f.check(v >= low && v <= high, field, v, fmt.Sprintf("must be %d to %d; leave it out for %d", low, high, def))
}

func (f *faults) retry(p RetryPolicy) {
	d := Options{Retry: p}.withDefaults().Retry
	f.within("Retry.MaxAttempts", d.MaxAttempts, 1, maxAttempts, defaultAttempts)
	f.check(p.MaxElapsed >= 0, "Retry.MaxElapsed", p.MaxElapsed, "must not be negative; leave it out for no limit")
	f.check(p.MaxHold >= 0, "Retry.MaxHold", p.MaxHold, "must not be negative; leave it out to hold nothing that the broker can delay")
	f.backoff("Retry.Backoff", d.Backoff)
	for _, c := range sortedClasses(p.Classes) {
		cp, path := p.Classes[c], fmt.Sprintf("Retry.Classes[%s]", c)
		if !slices.Contains(failure.Classes(), c) {
			f.check(false, path, nil, fmt.Sprintf("is not a failure class; use one of %v", failure.Classes()))
			continue
		}
		f.check(cp.MaxAttempts >= 0 && cp.MaxAttempts <= d.MaxAttempts, path+".MaxAttempts", cp.MaxAttempts,
			fmt.Sprintf("must be 0 to Retry.MaxAttempts (%d): there is one budget, and a class can only spend less of it", d.MaxAttempts))
		if cp.Backoff != (Backoff{}) {
			f.backoff(path+".Backoff", d.class(c).Backoff)
		}
	}
}

func (f *faults) backoff(path string, b Backoff) {
	f.check(b.Initial > 0, path+".Initial", b.Initial, "must be positive; leave it out for the default")
	f.check(b.Max >= b.Initial, path+".Max", b.Max, fmt.Sprintf("must be at least Initial (%s)", b.Initial))
	f.check(b.Factor >= 1, path+".Factor", b.Factor, "must be at least 1; leave it out for the default")
	f.check(b.Jitter <= 1, path+".Jitter", b.Jitter, "must be at most 1 (full jitter); negative for none")
}

func (f *faults) middleware(chain []Middleware) {
	seen := map[string]int{}
	for i, m := range chain {
		path := fmt.Sprintf("Middleware[%d]", i)
		f.check(m.Name != "", path+".Name", nil, "is empty; name it, for Explain and for errors")
		f.check(m.Wrap != nil || m.Err != nil, path+".Wrap", nil, "is nil; give it a function, or use a constructor of package middleware")
		if m.Err != nil {
			*f = append(*f, fmt.Errorf("%s (%s): %w", path, m.Name, m.Err))
		}
		if first, dup := seen[m.Name]; dup && m.Unique {
			f.check(false, path, m.Name, fmt.Sprintf("stands in the chain twice, first as Middleware[%d], and once is the rule; remove one", first))
			continue
		}
		seen[m.Name] = i
	}
}

func sortedClasses(m map[failure.Class]ClassPolicy) []failure.Class {
	keys := make([]failure.Class, 0, len(m))
	for c := range m {
		keys = append(keys, c)
	}
	slices.Sort(keys)
	return keys
}

// resolve fills in what depends on the broker, and reports the combinations
// that this broker makes impossible.
func (o Options) resolve(b broker.Capabilities, batch bool) (Options, error) {
	var f faults
	f.check(b.DeadLetters, "Subscription", nil, fmt.Sprintf(
		"has no dead-letter queue on %s, and a message that fails for good would have nowhere to go; give the queue one", b.Broker))
	f.check(o.Ordering != OrderKey || b.Keys, "Ordering", o.Ordering, fmt.Sprintf(
		"%s carries no keys, so there is no order to keep; use \"none\"", b.Broker))
	if b.Lease > 0 && !b.Extends {
		limit := b.Lease - leaseMargin(b.Lease)
		f.check(o.Timeout <= limit, "Timeout", o.Timeout, fmt.Sprintf(
			"%s cannot extend its lease of %s, so an attempt has %s at the most; shorten Timeout or lengthen the lease", b.Broker, b.Lease, limit))
	}
	given := o.MaxLease
	or(&o.MaxLease, defaultMaxLease)
	if b.MaxLease > 0 {
		// The broker's clock started when it handed the message out, ours when it
		// arrived: the last extension must not ask for more than is left there.
		usable := b.MaxLease - leaseMargin(b.MaxLease)
		f.check(given <= usable, "MaxLease", given, fmt.Sprintf(
			"%s ends every lease after %s; use at most %s", b.Broker, b.MaxLease, usable))
		f.check(o.Timeout < usable || o.Timeout >= o.MaxLease, "Timeout", o.Timeout, fmt.Sprintf(
			"must be below %s, because %s ends every lease after %s", usable, b.Broker, b.MaxLease))
		o.MaxLease = min(o.MaxLease, usable)
	}
	f.check(o.Retry.MaxHold <= 0 || o.Retry.MaxHold+o.Timeout < o.MaxLease, "Retry.MaxHold", o.Retry.MaxHold, fmt.Sprintf(
		"with Timeout (%s) it reaches MaxLease (%s): a held message would lose its lease; shorten it", o.Timeout, o.MaxLease))
	o.checkWaits(&f, b, batch)
	if b.DeliveryLimit > 0 {
		need := o.Retry.MaxAttempts + max(o.MaxAbandoned, 0)
		f.check(b.DeliveryLimit > need, "Retry.MaxAttempts", o.Retry.MaxAttempts, fmt.Sprintf(
			"%s gives a message up after %d deliveries, before the budget of %d attempts and %d abandoned deliveries is spent; raise the broker's limit above %d or lower the budget",
			b.Broker, b.DeliveryLimit, o.Retry.MaxAttempts, max(o.MaxAbandoned, 0), need))
	}
	if o.Name == "" {
		o.Name = b.Broker
		if b.Source != "" {
			o.Name += "/" + b.Source
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(&warnUp{slog.Default().Handler()})
	}
	if o.CodeVersion == "" {
		o.CodeVersion = buildVersion()
	}
	return o, f.err()
}

// checkWaits refuses waits in the process that a lease cannot cover.
func (o Options) checkWaits(f *faults, b broker.Capabilities, batch bool) {
	limit := o.MaxLease
	if b.Lease > 0 && !b.Extends {
		limit = min(limit, b.Lease)
	}
	limit -= leaseMargin(limit)
	if batch && o.Timeout < limit {
		f.check(o.BatchWait+o.Timeout < limit, "BatchWait", o.BatchWait, fmt.Sprintf(
			"with Timeout (%s) it reaches what a lease allows on %s (%s): a batch would never run; shorten it", o.Timeout, b.Broker, limit))
	}
	held := b.MaxDelay == 0 || o.Ordering == OrderKey && b.Keys && !(b.KeyOrder && b.DelayKeepsOrder)
	p := newPolicy(o.Retry)
	if longest := p.longestWait(); held && o.Retry.MaxAttempts > 1 {
		f.check(longest < limit, "Retry.Backoff", nil, fmt.Sprintf(
			"waits up to %s in all for the class that waits longest, on %s all of it in the process, and a lease allows %s; lower Max or MaxAttempts, or raise MaxLease",
			longest, b.Broker, limit))
	}
}

// leaseMargin is how long before the end of a lease the runtime acts: it cancels
// rather than race the broker's clock.
func leaseMargin(lease time.Duration) time.Duration {
	return min(lease/10, 5*time.Second)
}
