package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/runtime"
)

// report is what the program says at the end, as text or, with -json, as one
// object with these keys.
type report struct {
	// Orders is how many there are, Refunded how many of them got money, and
	// OverRefunded how many of those more than they cost.
	Orders       int `json:"orders"`
	Refunded     int `json:"refunded"`
	OverRefunded int `json:"over_refunded"`
	// Declined is how many requesters were told that another was first, PaidOut how
	// much money left the bank.
	Declined int `json:"declined"`
	PaidOut  int `json:"paid_out"`

	// DuplicatesSuppressed is how many deliveries Dedupe acknowledged without
	// handling them.
	DuplicatesSuppressed int64 `json:"duplicates_suppressed"`
	// Retries is how many attempts failed and were repeated, by class.
	Retries map[failure.Class]int64 `json:"retries"`
	// DeadLetters are the dead letters, by class and fingerprint.
	DeadLetters []deadGroup `json:"dead_letters"`
	// Strangers is how many messages of others were in the queue, left there by a run
	// that was interrupted. They were dead-lettered too, and are not counted above.
	Strangers int64 `json:"strangers"`
	// BreakerOpened is how often the payment service was given a rest.
	BreakerOpened int64 `json:"breaker_opened"`

	// Published is how many messages there were, ThroughputPerS how many of them
	// were finished per second, OldestAgeS how old one was at most when it was
	// finished, in seconds, and ElapsedS how long all of it took.
	Published      int64   `json:"published"`
	ThroughputPerS float64 `json:"throughput_per_s"`
	OldestAgeS     float64 `json:"oldest_age_s"`
	ElapsedS       float64 `json:"elapsed_s"`

	// Ledger is the consumer's.
	Ledger runtime.Ledger `json:"ledger"`

	Broker string `json:"broker"`
	Queue  string `json:"queue"`
	// Stopped says why the job ended before all was done: "interrupted" after
	// Ctrl-C. Empty when it did not.
	Stopped string `json:"stopped"`
	// Broken names the invariants that do not hold; empty when all do.
	Broken []string `json:"broken"`
}

// newReport sums up an outcome.
func newReport(o *outcome, brokenOnes error) report {
	r := report{
		Orders: o.orders.len(), DuplicatesSuppressed: o.duplicates,
		Retries: map[failure.Class]int64{}, DeadLetters: o.dead.groups, Strangers: o.accounts.strangers.Load(),
		BreakerOpened: o.openings, Published: o.sent, Ledger: o.ledger,
		OldestAgeS: max(o.accounts.oldestAge(), o.dead.oldest).Seconds(), ElapsedS: o.elapsed.Seconds(),
		Broken: []string{},
	}
	o.payments.statement(func(_ string, amount int) {
		r.Refunded++
		r.PaidOut += amount
		if amount > price {
			r.OverRefunded++
		}
	})
	o.accounts.each(func(_ string, e account) {
		if e.answer == declined {
			r.Declined++
		}
	})
	for class, n := range o.failures {
		if n.Retried > 0 {
			r.Retries[class] = n.Retried
		}
	}
	if r.DeadLetters == nil {
		r.DeadLetters = []deadGroup{}
	}
	if o.elapsed > 0 {
		r.ThroughputPerS = float64(o.accounts.settled(o.ledger)) / o.elapsed.Seconds()
	}
	if o.stopped != nil {
		r.Stopped = o.stopped.Error()
	}
	if brokenOnes != nil {
		r.Broken = strings.Split(brokenOnes.Error(), "\n")
	}
	return r
}

// writeJSON writes the report as one object.
func (r report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// write writes the report for a person.
func (r report) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d orders on %s, queue %q, in %.1f s\n\n", r.Orders, r.Broker, r.Queue, r.ElapsedS)
	add := func(name string, value any, note string) {
		fmt.Fprintln(&b, strings.TrimRight(fmt.Sprintf("  %-22s %8v   %s", name, value, note), " "))
	}
	add("refunds paid", r.Refunded, fmt.Sprintf("%d in all", r.PaidOut))
	add("over-refunds", r.OverRefunded, "")
	add("declined", r.Declined, "another requester of the order was first")
	add("duplicates suppressed", r.DuplicatesSuppressed, "")
	add("retries", total(r.Retries), byClass(r.Retries))
	add("dead letters", deadTotal(r.DeadLetters), "")
	if r.Strangers > 0 {
		add("messages of others", r.Strangers, "left by another run, and dead-lettered unread")
	}
	add("breaker opened", r.BreakerOpened, "")
	add("messages", r.Published, fmt.Sprintf("%.0f per second, the oldest %.1f s old when it was finished", r.ThroughputPerS, r.OldestAgeS))
	r.writeDead(&b)
	l := r.Ledger
	fmt.Fprintf(&b, "\nledger: %d received = %d acked + %d retried + %d dead-lettered + %d released + %d lost + %d in flight\n\n",
		l.Received, l.Acked, l.Retried, l.DeadLettered, l.Released, l.Lost, l.InFlight)
	r.writeVerdict(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r report) writeDead(b *strings.Builder) {
	if len(r.DeadLetters) == 0 {
		return
	}
	b.WriteString("\ndead letters by class and fingerprint, with an example\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, g := range r.DeadLetters {
		fmt.Fprintf(t, "  %d\t%s\t%s\t%s: %s\n", g.Count, g.Class, g.Fingerprint, g.MessageID, shorten(g.Example))
	}
	_ = t.Flush() // into a strings.Builder, which does not fail
}

func (r report) writeVerdict(b *strings.Builder) {
	switch {
	case len(r.Broken) > 0:
		b.WriteString(strings.Join(r.Broken, "\n") + "\n")
	case r.Stopped != "":
		fmt.Fprintf(b, "%s: the job is not complete; what it did is verified, and no order was refunded twice\n", r.Stopped)
	default:
		b.WriteString("verified: every order that can be refunded was refunded exactly once, and every message is accounted for\n")
	}
}

func total(byClass map[failure.Class]int64) (n int64) {
	for _, c := range byClass {
		n += c
	}
	return n
}

func byClass(m map[failure.Class]int64) string {
	var parts []string
	for class, n := range m {
		parts = append(parts, fmt.Sprintf("%s %d", class, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func deadTotal(groups []deadGroup) (n int) {
	for _, g := range groups {
		n += g.Count
	}
	return n
}

// shorten keeps an error on one line of a terminal.
func shorten(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 100 {
		return string(r[:99]) + "…"
	}
	return s
}
