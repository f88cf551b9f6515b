// Package docs renders the parts of the documentation that follow from the code,
// so that a test can hold them against it.
package docs

import (
	"fmt"
	"strings"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// Column is one of the table of guarantees: a broker, and how it is used.
type Column struct {
	Name string
	broker.Capabilities
}

// Guarantees renders the table of what each broker gives as Markdown.
func Guarantees(brokers ...Column) string {
	var b strings.Builder
	b.WriteString("| |")
	for _, c := range brokers {
		fmt.Fprintf(&b, " %s |", c.Name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(brokers)) + "\n")
	for _, row := range rows {
		fmt.Fprintf(&b, "| %s |", row.name)
		for _, c := range brokers {
			fmt.Fprintf(&b, " %s |", row.cell(c.Capabilities))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

var rows = []struct {
	name string
	cell func(broker.Capabilities) string
}{
	{"Order per key", func(c broker.Capabilities) string {
		switch {
		case !c.Keys:
			return "none: it carries no keys"
		case c.KeyOrder:
			return "kept by the broker, across consumers"
		default:
			return "kept within a consumer"
		}
	}},
	{"Lease", func(c broker.Capabilities) string {
		switch {
		case c.Lease == 0:
			return "no deadline of its own"
		case c.Extends:
			return fmt.Sprintf("%s by default, extended while the handler runs%s", span(c.Lease), limit(", up to ", c.MaxLease))
		default:
			return fmt.Sprintf("%s by default, not extendable: an attempt is ended before it", span(c.Lease))
		}
	}},
	{"Attempts are counted by", func(c broker.Capabilities) string {
		return either(c.CarriesAttempts, "attempts: a delivery is no failure", "deliveries: whatever delivers again spends the budget")
	}},
	{"Retries wait", func(c broker.Capabilities) string {
		switch {
		case c.MaxDelay == 0:
			return "in the worker"
		case c.DelayKeepsOrder:
			return "in the broker, also in key order" + limit(", up to ", c.MaxDelay)
		default:
			return "in the broker" + limit(", here up to ", c.MaxDelay) + "; in the worker under key order"
		}
	}},
	{"Failed attempts per message at most", func(c broker.Capabilities) string {
		switch {
		case !c.CarriesAttempts && c.MaxDelay == 0:
			return "the budget; a crash spends one, and forgets those that were held in the worker"
		case !c.CountsAbandoned:
			return "the budget; crashes are not counted apart"
		case c.MaxDelay > 0:
			return "the budget; a crash adds a run, as releases, shutdowns and lost leases do"
		default:
			return "the budget, and again after each crash"
		}
	}},
	{"A release spends an attempt", func(c broker.Capabilities) string { return either(c.ReleaseIsFree, "no", "yes") }},
	{"The failure record travels with a retry", func(c broker.Capabilities) string { return either(c.CarriesFailure, "yes", "no") }},
	{"Duplicates", func(c broker.Capabilities) string { return or(c.Duplicates, "unknown") }},
	{"Age is measured from", func(c broker.Capabilities) string { return or(c.AgeFrom, "unknown") }},
	{"Largest message", func(c broker.Capabilities) string {
		if c.MaxMessageBytes == 0 {
			return "not known to the client"
		}
		return size(c.MaxMessageBytes)
	}},
}

func either(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func limit(prefix string, d time.Duration) string {
	const year = 365 * 24 * time.Hour
	if d == 0 || d >= year {
		return ""
	}
	return prefix + span(d)
}

// span is a duration without the zeros at its end.
func span(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func size(n int) string {
	for _, u := range []struct {
		name  string
		bytes int
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.bytes && n%u.bytes == 0 {
			return fmt.Sprintf("%d %s", n/u.bytes, u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
