package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/pprof/profile"

	"github.com/anyqueue/anyqueue/bench"
)

// One short round writes every table, with a figure for every contender, and
// keeps what a person wrote around the section.
func TestReportHasEveryTableAndKeepsNotes(t *testing.T) {
	out := filepath.Join(t.TempDir(), "benchmarks.md")
	if err := os.WriteFile(out, []byte("# Notes\n\nMine.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), []string{"-only", "memory", "-rounds", "1", "-per", "1ms", "-heap", "1", "-out", out}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"Mine.", "### Targets", "ns of tracing that is off", "### What the runtime adds", "### What single parts cost", "### Where the time goes",
		"Order by key, concurrency 256, body 1024 B:", "### The same with a backlog", "### The same with no heap held",
		"| " + bench.NameChannel, "| " + bench.NameMemory, "| " + bench.NameFull, "| " + bench.NameWatermillFor,
	} {
		if !strings.Contains(string(text), part) {
			t.Errorf("the report lacks %q", part)
		}
	}
	for _, nonsense := range []string{"NaN", "Inf"} {
		if strings.Contains(string(text), nonsense) {
			t.Errorf("the report holds %s", nonsense)
		}
	}
}

// A missed target is written down as missed.
func TestMissedTargetIsNamed(t *testing.T) {
	c := bench.NewCase(true, 16, 100)
	slow, fast := series{{Messages: 1, Wall: 9000, CPU: 9000}}, series{{Messages: 1, Wall: 100, CPU: 100}}
	measured := func(c bench.Case) caseResult {
		return caseResult{Case: c, series: map[string]series{
			bench.NameFull: slow, bench.NameMemory: fast, bench.NameNoMetrics: slow,
			bench.NameWatermill: slow, bench.NameWatermillFor: slow,
		}}
	}
	r := &results{cases: []caseResult{measured(c), measured(bench.NewCase(false, 16, 100))}, tracingOff: fast}
	verdicts := make(map[string]string)
	for _, row := range targets(r) {
		verdicts[row[0]] = row[1] + " " + row[3]
	}
	for what, verdict := range map[string]string{
		"order by key, 100 B: CPU ns added to the broker":             "8,900 (8,900 to 8,900) **missed**",
		"order by key, 100 B: CPU ns of metrics":                      "0 (0 to 0) met",
		"order by key, 100 B: times as fast as Watermill":             "1.0x (1.0 to 1.0) **missed**",
		"ns of tracing that is off":                                   "100 (100 to 100) **missed**",
		"order by key, 100 B: allocations added":                      "0.00 met",
		"no order, 100 B: times as fast as " + bench.NameWatermillFor: "1.0x (1.0 to 1.0) **missed**",
	} {
		if verdicts[what] != verdict {
			t.Errorf("%s: %q, want %q", what, verdicts[what], verdict)
		}
	}
}

// A sample belongs to the innermost function that is not of Go's runtime, and to
// garbage collection whenever that is what it is for.
func TestProfileIsDividedAmongParts(t *testing.T) {
	stack := func(weight int64, innermostFirst ...string) *profile.Sample {
		s := &profile.Sample{Value: []int64{weight}}
		for _, name := range innermostFirst {
			s.Location = append(s.Location, &profile.Location{
				Line: []profile.Line{{Function: &profile.Function{Name: name, Filename: "/src/settle.go"}}},
			})
		}
		return s
	}
	work := anyqueue + "runtime.(*Consumer).work"
	p := &profile.Profile{Sample: []*profile.Sample{
		stack(40, "runtime.mallocgc", work, "runtime.goexit"),
		stack(30, "runtime.scanobject", "runtime.gcAssistAlloc", "runtime.mallocgc", work),
		stack(15, "sync.(*Mutex).Lock", anyqueue+"memory.(*queue).take", work),
		stack(10, "go.opentelemetry.io/otel/sdk/metric.record", work),
		stack(5, "runtime.futex", "runtime.schedule", "runtime.mcall"),
	}}
	want := []share{
		{"runtime/settle.go", 400, 0.4},
		{"garbage collection", 300, 0.3},
		{"memory/settle.go", 150, 0.15},
		{"OpenTelemetry SDK", 100, 0.1},
		{"Go runtime: scheduler", 50, 0.05},
	}
	if got := shares(p, 1000); !slices.Equal(got, want) {
		t.Errorf("shares = %v, want %v", got, want)
	}
}

// A comparison pairs the samples of one round, not two medians.
func TestComparisonIsMadeWithinARound(t *testing.T) {
	a := series{{Messages: 1, Wall: 10}, {Messages: 1, Wall: 100}, {Messages: 1, Wall: 1000}}
	b := series{{Messages: 1, Wall: 5}, {Messages: 1, Wall: 50}, {Messages: 1, Wall: 100}}
	if got := a.pairs(b, wall, over); got != (spread{2, 2, 10}) {
		t.Errorf("ratio = %+v, want median 2 of 2, 2 and 10", got)
	}
	if got := a.pairs(b, wall, minus); got != (spread{50, 5, 900}) {
		t.Errorf("difference = %+v, want median 50 of 5, 50 and 900", got)
	}
}

// Numbers are written so that they can be read.
func TestNumbersHaveSeparators(t *testing.T) {
	for v, want := range map[float64]string{0: "0", -0.2: "0", 999.6: "1,000", 1234567: "1,234,567", -1234: "-1,234", 12: "12"} {
		if got := thousands(v); got != want {
			t.Errorf("thousands(%v) = %q, want %q", v, got, want)
		}
	}
}
