package runtime

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/anyqueue/anyqueue/failure"
)

// ceiling is the longest wait after the n-th failed attempt, before jitter. It
// is a pure function: asking twice advances nothing.
func (b Backoff) ceiling(n int) time.Duration {
	d := float64(b.Initial) * math.Pow(b.Factor, float64(max(n, 1)-1))
	if d >= float64(min(b.Max, maxDuration)) { // also where Pow overflowed to +Inf
		return min(b.Max, maxDuration)
	}
	return time.Duration(d)
}

// wait is ceiling with jitter. random is in [0, 1).
func (b Backoff) wait(n int, random float64) time.Duration {
	d := b.ceiling(n)
	if b.Jitter <= 0 {
		return d
	}
	return d - time.Duration(float64(d)*b.Jitter*random)
}

// policy is a RetryPolicy with every default filled in and every class present.
type policy struct {
	maxAttempts int
	maxElapsed  time.Duration
	classes     map[failure.Class]ClassPolicy
	random      func() float64
}

func newPolicy(p RetryPolicy) policy {
	classes := make(map[failure.Class]ClassPolicy, len(failure.Classes()))
	for _, c := range failure.Classes() {
		classes[c] = p.class(c)
	}
	return policy{
		maxAttempts: p.MaxAttempts,
		maxElapsed:  p.MaxElapsed,
		classes:     classes,
		random:      rand.Float64,
	}
}

// classDefaults is what RetryPolicy.Classes documents.
var classDefaults = map[failure.Class]ClassPolicy{
	failure.ClassFormat:     {MaxAttempts: 1},
	failure.ClassData:       {MaxAttempts: 1},
	failure.ClassCrash:      {MaxAttempts: 1},
	failure.ClassBug:        {MaxAttempts: 3},
	failure.ClassResource:   {Backoff: Backoff{Initial: 50 * time.Millisecond, Max: 5 * time.Second, Factor: 2}},
	failure.ClassDependency: {Backoff: Backoff{Initial: time.Second, Max: 5 * time.Minute, Factor: 3}},
}

// class merges what the user set for a class over the class's defaults and the
// policy's own backoff. p has its defaults filled in.
func (p RetryPolicy) class(c failure.Class) ClassPolicy {
	def, set := classDefaults[c], p.Classes[c]
	merged := ClassPolicy{MaxAttempts: p.MaxAttempts, Backoff: p.Backoff}
	if def.MaxAttempts > 0 {
		merged.MaxAttempts = def.MaxAttempts
	}
	if set.MaxAttempts > 0 {
		merged.MaxAttempts = set.MaxAttempts
	}
	merged.MaxAttempts = min(merged.MaxAttempts, p.MaxAttempts)
	if def.Backoff != (Backoff{}) {
		merged.Backoff = def.Backoff.orDefault(p.Backoff)
	}
	if set.Backoff != (Backoff{}) {
		merged.Backoff = set.Backoff.orDefault(merged.Backoff)
	}
	return merged
}

// orDefault fills zero fields from d.
func (b Backoff) orDefault(d Backoff) Backoff {
	if b.Initial == 0 {
		b.Initial = d.Initial
	}
	if b.Max == 0 {
		b.Max = max(d.Max, b.Initial)
	}
	if b.Factor == 0 {
		b.Factor = d.Factor
	}
	if b.Jitter == 0 {
		b.Jitter = d.Jitter
	}
	return b
}

// next says whether an attempt that failed with class c may be followed by
// another, and after what wait. spent is how many attempts have failed, this one
// included; since is when the first of them failed.
func (p *policy) next(c failure.Class, spent int, since, now time.Time) (time.Duration, bool) {
	cp := p.classes[c]
	if spent >= cp.MaxAttempts {
		return 0, false
	}
	wait := cp.Backoff.wait(spent, p.random())
	return wait, p.inTime(since, now.Add(wait))
}

// inTime says whether an attempt at a time lies within the total time that
// retries of what first failed since may take.
func (p *policy) inTime(since, at time.Time) bool {
	return p.maxElapsed <= 0 || at.Sub(since) <= p.maxElapsed
}

// longestWait is the sum of the waits of a message that fails to its last
// attempt, for the class that waits longest.
func (p *policy) longestWait() time.Duration {
	var longest time.Duration
	for _, cp := range p.classes {
		var sum time.Duration
		for n := 1; n < cp.MaxAttempts; n++ {
			sum = min(sum+min(cp.Backoff.ceiling(n), maxDuration), maxDuration)
		}
		longest = max(longest, sum)
	}
	return longest
}

// ladder is every wait that the policy asks for, before jitter, ascending.
func (p RetryPolicy) ladder() []time.Duration {
	var all []time.Duration
	for _, cp := range newPolicy(p).classes {
		for n := 1; n < cp.MaxAttempts; n++ {
			all = append(all, cp.Backoff.ceiling(n))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
