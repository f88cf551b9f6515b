package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anyqueue/anyqueue/bench"
)

// Figures of a sample.
var (
	wall      = bench.Sample.WallNS
	cpu       = bench.Sample.CPUNS
	allocs    = bench.Sample.AllocsPer
	heapBytes = bench.Sample.BytesPer
)

// render writes all tables.
func render(r *results, m machine) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## Measured\n\n%s.\n\n", m)
	b.WriteString(method(r))
	b.WriteString("### Targets\n\n")
	b.WriteString(table(append([][]string{{"what", "measured", "target", ""}}, targets(r)...)))
	b.WriteString("\nEach figure is the median of its rounds with the least and the most. A comparison is made within each\nround, and is the median of those.\n\n")
	b.WriteString(added(r))
	b.WriteString(parts(r))
	b.WriteString(profiled(r))
	b.WriteString("### End to end\n\n")
	b.WriteString("Per message, from publish until the handler has returned. The last column is wall time relative to\nanyqueue with everything on in the same case: above 1 is slower than anyqueue.\n\n")
	b.WriteString(endToEnds(r.cases))
	b.WriteString("### The same with a backlog\n\n")
	fmt.Fprintf(&b, "%d messages may wait to be handled, as after a burst.\n\n", bench.Backlog)
	b.WriteString(endToEnds(r.backlog))
	b.WriteString("### The same with no heap held\n\n")
	b.WriteString("A process that holds nothing collects garbage so often that collection is most of what is measured. This\nis how `go test -bench` would show it.\n\n")
	b.WriteString(endToEnds(r.small))
	return b.String()
}

func method(r *results) string {
	return fmt.Sprintf(`Written by `+"`make bench`"+` in %s: %d rounds, in each of which every contender runs once for about %s, beginning
with another one each time; what has order by key and what has not run in the same rounds. %d MiB of heap are
held meanwhile, as much as a small service has. One goroutine publishes messages that were made before, up to %d
in one call where the API takes several, and has no more than a window of max(256, 4 x concurrency) of them
unfinished. The handler only counts. CPU is user and system time of the whole process, garbage collection
included, so it holds the publisher and the broker too. Allocations are heap objects.

- *%s*: the floor. It acknowledges nothing and loses everything.
- *%s*: the in-memory broker with one goroutine that receives, handles and acknowledges in batches of the
  size that anyqueue's were.
- *%s*: with a time limit per attempt, retries, capture of panics, and metrics recorded by the OpenTelemetry
  SDK; tracing off. The other rows switch something off, or tracing on (every span sampled, none exported).
- *%s*: its gochannel and its Router. It has no order by key and no limit of concurrency: it runs as many handlers
  at once as the window lets in. The four middlewares are Recoverer, CorrelationID, Retry and Timeout.

`, r.took.Round(time.Second), r.rounds, r.per, r.heap, bench.Batch,
		capital(bench.NameChannel), capital(bench.NameMemory), bench.NameFull, bench.NameWatermill)
}

// added is what the runtime costs above the broker.
func added(r *results) string {
	rows := [][]string{{"case", "broker alone, CPU ns", "anyqueue, CPU ns", "added CPU ns", "added allocs", "receive / settle batch"}}
	for i := range r.cases {
		c := &r.cases[i]
		alone, all := c.series[bench.NameMemory], c.series[bench.NameFull]
		rows = append(rows, []string{
			c.String(), thousands(alone.each(cpu).median), thousands(all.each(cpu).median),
			all.pairs(alone, cpu, minus).ns(),
			fmt.Sprintf("%.2f", all.pairs(alone, allocs, minus).median),
			fmt.Sprintf("%.1f / %.1f", c.batches.Receive, c.batches.Settle),
		})
	}
	return "### What the runtime adds to the in-memory broker\n\n" + table(rows) + "\n"
}

// parts is what single features cost, as the difference that they make.
func parts(r *results) string {
	rows := [][]string{{"case", "time limit, CPU ns", "metrics, CPU ns", "metrics, allocs", "tracing on, CPU ns", "tracing on, allocs"}}
	for i := range r.cases {
		s := r.cases[i].series
		bare, off, all, traced := s[bench.NameBare], s[bench.NameNoMetrics], s[bench.NameFull], s[bench.NameTraced]
		rows = append(rows, []string{
			r.cases[i].String(),
			off.pairs(bare, cpu, minus).ns(),
			all.pairs(off, cpu, minus).ns(),
			fmt.Sprintf("%.2f", all.pairs(off, allocs, minus).median),
			traced.pairs(all, cpu, minus).ns(),
			fmt.Sprintf("%.1f", traced.pairs(all, allocs, minus).median),
		})
	}
	return "### What single parts cost\n\nThe difference that each makes when it is switched on. Where the least is below 0 the difference is lost in the\nnoise.\n\n" +
		table(rows) + fmt.Sprintf("\nTracing that is off costs %s ns of a message, measured by itself.\n\n", r.tracingOff.each(wall).ns())
}

// profiled is where the time goes.
func profiled(r *results) string {
	rows := [][]string{{"part", "CPU ns", "share"}}
	rest := share{}
	for _, s := range r.shares {
		if s.of < 0.01 {
			rest.ns, rest.of = rest.ns+s.ns, rest.of+s.of
			continue
		}
		rows = append(rows, []string{s.part, thousands(s.ns), fmt.Sprintf("%.0f %%", 100*s.of)})
	}
	rows = append(rows, []string{"each below 1 %", thousands(rest.ns), fmt.Sprintf("%.0f %%", 100*rest.of)})
	return fmt.Sprintf("### Where the time goes\n\nA CPU profile of anyqueue with everything on, %s. What a function called in Go's runtime or in the\nstandard library counts for the function.\n\n%s\n",
		r.profiled, table(rows))
}

func endToEnds(cases []caseResult) string {
	var b strings.Builder
	for i := range cases {
		fmt.Fprintf(&b, "%s:\n\n%s\n", capital(cases[i].String()), endToEnd(&cases[i]))
	}
	return b.String()
}

func endToEnd(c *caseResult) string {
	rows := [][]string{{"", "messages/s", "ns", "CPU ns", "allocs", "B", "ns to anyqueue's"}}
	base := c.series[bench.NameFull]
	for _, name := range c.names {
		s := c.series[name]
		rows = append(rows, []string{
			name,
			thousands(1e9 / s.each(wall).median),
			s.each(wall).ns(),
			thousands(s.each(cpu).median),
			fmt.Sprintf("%.1f", s.each(allocs).median),
			thousands(s.each(heapBytes).median),
			fmt.Sprintf("%.2f", s.pairs(base, wall, over).median),
		})
	}
	return table(rows)
}

// table writes rows as a Markdown table, the first as its head; all columns but
// the first are aligned to the right.
func table(rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(rows[0])
	rule := slices.Repeat([]string{"---:"}, len(rows[0]))
	rule[0] = "---"
	line(rule)
	for _, row := range rows[1:] {
		line(row)
	}
	return b.String()
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
