package runtime

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/anyqueue/anyqueue/failure"
)

// Explanation says what a consumer's configuration means on its broker.
type Explanation struct {
	Consumer string `json:"consumer"`
	Broker   string `json:"broker"`
	Source   string `json:"source,omitempty"`
	// Middleware names the chain, the outermost first.
	Middleware []string `json:"middleware,omitempty"`

	Concurrency      int      `json:"concurrency"`
	MaxInFlight      int      `json:"max_in_flight"`
	MaxInFlightBytes int      `json:"max_in_flight_bytes"`
	Ordering         Ordering `json:"ordering"`

	// MaxRuns is how often the handler runs for one message at the worst: each
	// attempt of the budget once, and again for each time that it may be abandoned.
	// 0: no limit, because MaxAbandoned is negative, or the broker does not count
	// what was abandoned. Releases that the handler asks for run it again and are not counted.
	MaxRuns int `json:"max_runs"`
	// Classes says what becomes of each class of failure.
	Classes []ClassExplanation `json:"classes"`
	// TimeToDeadLetter is the longest that a message takes from its first attempt
	// to the dead letters if nothing else delays it: all waits and all attempts at
	// their longest.
	TimeToDeadLetter time.Duration `json:"time_to_dead_letter_ns"`

	// AttemptLimit is the longest that one attempt may run: Timeout, or what the
	// lease allows.
	AttemptLimit time.Duration `json:"attempt_limit_ns"`
	// Lease is the broker's lease, 0 without a deadline; LeaseMargin is what is
	// left of it when it is extended (or, where it cannot be, when the attempt is
	// ended).
	Lease       time.Duration `json:"lease_ns"`
	LeaseMargin time.Duration `json:"lease_margin_ns"`

	// Notes are consequences that are easily overlooked.
	Notes []string `json:"notes,omitempty"`
}

// ClassExplanation is what becomes of one class of failure.
type ClassExplanation struct {
	Class failure.Class `json:"class"`
	// Attempts is the number of attempts in all.
	Attempts int `json:"attempts"`
	// Waits are the longest waits after each attempt but the last; jitter shortens
	// them.
	Waits []time.Duration `json:"waits_ns,omitempty"`
	// Carrier is who keeps the message during the waits: "broker", "held" (in the
	// process), "held, then broker", or "" when there is none.
	Carrier string `json:"carrier,omitempty"`
}

// Explain says what the configuration means on this broker: worst cases, not
// settings.
func (c *Consumer) Explain() Explanation {
	e := Explanation{
		Consumer: c.opt.Name, Broker: c.cap.Broker, Source: c.cap.Source,
		Concurrency: c.opt.Concurrency, MaxInFlight: c.opt.MaxInFlight,
		MaxInFlightBytes: c.opt.MaxInFlightBytes, Ordering: c.opt.Ordering,
		Lease: c.cap.Lease,
	}
	for _, m := range c.opt.Middleware {
		e.Middleware = append(e.Middleware, m.Name)
	}
	e.AttemptLimit = c.opt.MaxLease - leaseMargin(c.opt.MaxLease)
	switch {
	case c.cap.Lease > 0 && !c.cap.Extends:
		e.LeaseMargin = leaseMargin(c.cap.Lease)
		e.AttemptLimit = min(e.AttemptLimit, c.cap.Lease-e.LeaseMargin)
	case c.cap.Lease > 0:
		e.LeaseMargin = c.cap.Lease / 3
	}
	if c.opt.Timeout > 0 {
		e.AttemptLimit = min(e.AttemptLimit, c.opt.Timeout)
	}
	switch {
	case !c.cap.CarriesAttempts && c.holdsAny():
		// The n-th delivery starts with n attempts spent, whatever was held before.
		e.MaxRuns = c.policy.maxAttempts * (c.policy.maxAttempts + 1) / 2
	case !c.cap.CarriesAttempts: // every delivery spends one
		e.MaxRuns = c.policy.maxAttempts
	case c.cap.CountsAbandoned && c.opt.MaxAbandoned >= 0:
		e.MaxRuns = c.policy.maxAttempts * (c.opt.MaxAbandoned + 1)
	}
	for _, class := range failure.Classes() {
		x := c.explainClass(class)
		total := min(e.AttemptLimit, maxDuration/maxAttempts) * time.Duration(x.Attempts)
		for _, w := range x.Waits {
			total = min(total+w, maxDuration)
		}
		e.TimeToDeadLetter = max(e.TimeToDeadLetter, total)
		e.Classes = append(e.Classes, x)
	}
	if limit := c.policy.maxElapsed; limit > 0 {
		e.TimeToDeadLetter = min(e.TimeToDeadLetter, limit+2*e.AttemptLimit)
	}
	e.Notes = c.notes()
	return e
}

// holdsAny says whether some retry is held.
func (c *Consumer) holdsAny() bool {
	return c.holdsAll || c.mustHold(c.opt.Ordering == OrderKey)
}

func (c *Consumer) explainClass(class failure.Class) ClassExplanation {
	cp := c.policy.classes[class]
	x := ClassExplanation{Class: class, Attempts: cp.MaxAttempts}
	var total time.Duration
	held := 0
	for n := 1; n < cp.MaxAttempts; n++ {
		w := cp.Backoff.ceiling(n)
		total += w
		hold := c.wouldHold(c.opt.Ordering == OrderKey, total)
		if hold {
			held++
		}
		x.Waits = append(x.Waits, c.within(w, hold))
	}
	switch {
	case len(x.Waits) == 0:
	case held == len(x.Waits):
		x.Carrier = "held"
	case held > 0:
		x.Carrier = "held, then broker"
	default:
		x.Carrier = "broker"
	}
	return x
}

func (c *Consumer) notes() []string {
	var notes []string
	note := func(when bool, format string, args ...any) {
		if when {
			notes = append(notes, fmt.Sprintf(format, args...))
		}
	}
	b, name := c.cap, c.cap.Broker
	longest := time.Duration(0)
	for _, cp := range c.policy.classes {
		if cp.MaxAttempts > 1 {
			longest = max(longest, cp.Backoff.ceiling(cp.MaxAttempts-1))
		}
	}
	note(c.opt.Timeout == 0, "Timeout is not set: a handler that hangs is cancelled only when its lease is at its cap.")
	note(!b.CarriesAttempts, "%s counts deliveries, not attempts: whatever delivers a message again spends its budget.", name)
	note(!b.ReleaseIsFree, "%s cannot take a message back without counting it: a release spends an attempt, so a released message is held while its lease allows.", name)
	note(!b.CountsAbandoned, "%s does not tell how often a message was abandoned: one that keeps killing the process is caught by the budget alone, if at all.", name)
	note(b.MaxDelay > 0 && longest > b.MaxDelay, "%s delays for %s at the most: longer waits (up to %s) are cut to that.", name, b.MaxDelay, longest)
	note(b.MaxDelay == 0, "%s cannot delay a message: every wait is held here and counts against MaxInFlight.", name)
	note(c.opt.Ordering == OrderKey && !b.KeyOrder, "%s hands messages of one key to several consumers: order holds within this consumer.", name)
	note(c.opt.Retry.MaxHold > 0 && b.CarriesAttempts, "MaxHold is set: a process that is killed forgets the attempts of a hold, at most %s of them per delivery.", c.opt.Retry.MaxHold)
	return notes
}

// String renders the explanation for a person.
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "consumer %q on %s", e.Consumer, e.Broker)
	if e.Source != "" {
		fmt.Fprintf(&b, ", queue %q", e.Source)
	}
	b.WriteByte('\n')
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("at once", "%d handlers, %d messages or %d bytes in flight, order %s", e.Concurrency, e.MaxInFlight, e.MaxInFlightBytes, e.Ordering)
	if e.MaxRuns > 0 {
		row("runs of one message", "at most %d, each attempt again after every crash included", e.MaxRuns)
	} else {
		row("runs of one message", "crashes are not limited")
	}
	row("attempt", "at most %s", e.AttemptLimit)
	row("to the dead letters", "%s at the longest, not counting crashes, releases and waiting for a worker", e.TimeToDeadLetter.Round(time.Millisecond))
	if e.Lease > 0 {
		row("lease", "%s, acted on when %s remain", e.Lease, e.LeaseMargin)
	} else {
		row("lease", "no deadline of its own")
	}
	if len(e.Middleware) > 0 {
		row("middleware", "%s", strings.Join(e.Middleware, " > "))
	}
	for _, c := range e.Classes {
		if c.Class == failure.ClassCrash {
			continue // said above: it is counted by deliveries, not by attempts
		}
		if c.Attempts <= 1 {
			row(string(c.Class), "dead-lettered at once")
			continue
		}
		waits := make([]string, len(c.Waits))
		for i, d := range c.Waits {
			waits[i] = d.String()
		}
		row(string(c.Class), "%d attempts, waits up to %s (%s)", c.Attempts, strings.Join(waits, ", "), c.Carrier)
	}
	_ = w.Flush() // into a strings.Builder, which does not fail
	for _, n := range e.Notes {
		fmt.Fprintf(&b, "  note: %s\n", n)
	}
	return b.String()
}
