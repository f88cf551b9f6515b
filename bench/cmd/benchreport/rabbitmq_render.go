package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/anyqueue/anyqueue/bench"
	"github.com/anyqueue/anyqueue/bench/rabbitmq"
)

// What the adapter promises beside the raw client.
const (
	mostEachCPU      = 1.05 // of the raw client that acknowledges each
	mostBatchCPU     = 0.85
	mostRabbitAllocs = 4 // more than the raw client's
	leastConsumed    = 0.95
	leastPublished   = 0.90
)

// renderRabbit writes the section of the RabbitMQ adapter.
func renderRabbit(r *rabbitResults, m machine) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## RabbitMQ\n\n%s; %s.\n\n", r.product, m)
	fmt.Fprintf(&b, `Written by `+"`make bench`"+` in %s: one round to warm up and %d that count, in each of which every contender runs once,
beginning with another one each time; %d MiB of heap are held meanwhile. The server is on the same machine, and
shares its cores. CPU, allocations and bytes are the client's, per message; CPU is user and system time. One
quorum queue. A comparison is made within each round; figures are medians, with the least and the most.

`, r.took.Round(time.Second), r.rounds, r.heap)
	b.WriteString("### Targets\n\n")
	b.WriteString(table(append([][]string{{"what", "measured", "target", ""}}, rabbitTargets(r)...)))
	fmt.Fprintf(&b, `
### Consumers

The queue holds all messages before a consumer starts, and more than are measured. The raw client is one
goroutine over one channel; %q acknowledges half of the prefetch at once where that is less. The adapter alone is one
goroutine that receives, handles and settles. %q is the whole runtime with 16 workers, a time limit, retries,
capture of panics and, unless it is said, metrics. %q is its subscriber and Router, which takes one message at a time.

`, rabbitmq.NameRawMulti, capital(rabbitmq.NameFull), rabbitmq.NameWatermill)
	for i := range r.consumed {
		c := &r.consumed[i]
		fmt.Fprintf(&b, "%s:\n\n%s\n", capital(c.of.String()), c.table(rabbitmq.NameRaw))
	}
	b.WriteString("### Publishers\n\nBodies of 100 B. Every call publishes its batch, persistent and mandatory, and returns when all of it is confirmed.\n\n")
	for i := range r.published {
		c := &r.published[i]
		fmt.Fprintf(&b, "%s:\n\n%s\n", capital(c.of.String()), c.table(rabbitmq.NameRawPublisher))
	}
	fmt.Fprintf(&b, "### A backlog\n\n%s\nThe section on the soak has one of 1,000,000.\n", r.drained)
	return b.String()
}

func rate(s bench.Sample) float64 { return 1e9 / s.WallNS() }

func (c *rabbitCase[C]) table(base string) string {
	rows := [][]string{{"", "messages/s", "of raw", "CPU ns", "of raw", "allocs", "B"}}
	raw := c.series[base]
	for _, name := range c.names {
		s := c.series[name]
		rows = append(rows, []string{
			name,
			thousands(s.each(rate).median), ratio(s.pairs(raw, rate, over)),
			thousands(s.each(cpu).median), ratio(s.pairs(raw, cpu, over)),
			fmt.Sprintf("%.1f", s.each(allocs).median), thousands(s.each(heapBytes).median),
		})
	}
	return table(rows)
}

func ratio(s spread) string { return fmt.Sprintf("%.2f (%.2f to %.2f)", s.median, s.least, s.most) }

// rabbitTargets compares the promises with what was measured.
func rabbitTargets(r *rabbitResults) [][]string {
	var rows [][]string
	row := func(what, measured, target string, met bool) {
		verdict := "met"
		if !met {
			verdict = "**missed**"
		}
		rows = append(rows, []string{what, measured, target, verdict})
	}
	for i := range r.consumed {
		c := &r.consumed[i]
		raw := c.series[rabbitmq.NameRaw]
		for _, t := range []struct {
			name string
			most float64
		}{
			{rabbitmq.NameEach, mostEachCPU},
			{rabbitmq.NameCoalesced, mostBatchCPU},
			{rabbitmq.NameRuntime, mostBatchCPU},
			{rabbitmq.NameFull, mostEachCPU},
		} {
			s := c.series[t.name]
			where := fmt.Sprintf("%s, %s: ", c.of, t.name)
			d := s.pairs(raw, cpu, over)
			row(where+"CPU of raw", ratio(d), fmt.Sprintf("at most %.2f", t.most), d.median <= t.most)
			d = s.pairs(raw, allocs, minus)
			row(where+"allocations added", fmt.Sprintf("%.1f", d.median), fmt.Sprintf("at most %d", mostRabbitAllocs), d.median <= mostRabbitAllocs)
			d = s.pairs(raw, rate, over)
			row(where+"messages/s of raw", ratio(d), fmt.Sprintf("at least %.2f", leastConsumed), d.median >= leastConsumed)
		}
	}
	for i := range r.published {
		c := &r.published[i]
		d := c.series[rabbitmq.NamePublisher].pairs(c.series[rabbitmq.NameRawPublisher], rate, over)
		row(fmt.Sprintf("publisher, %s: messages/s of raw", c.of), ratio(d), fmt.Sprintf("at least %.2f", leastPublished), d.median >= leastPublished)
	}
	return rows
}
