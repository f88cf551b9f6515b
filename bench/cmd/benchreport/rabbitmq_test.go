package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/bench/rabbitmq"
)

// One short round writes both tables of every case, with a figure for every
// contender. Every run checks by itself that the queue was emptied.
func TestRabbitReportHasEveryTable(t *testing.T) {
	url := os.Getenv(rabbitmq.Variable)
	if url == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal(rabbitmq.NoServer)
		}
		t.Skip(rabbitmq.NoServer)
	}
	out := filepath.Join(t.TempDir(), "benchmarks.md")
	if err := run(t.Context(), []string{"-only", "rabbitmq", "-rabbitmq", url, "-rounds", "1", "-per", "1ms", "-heap", "1", "-backlog", "5000", "-out", out}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"### Targets", "### A backlog", "Body 1024 B, prefetch 1000:", "Batches of 1000, 8 at once:",
		"| " + rabbitmq.NameRawMulti + " |", "| " + rabbitmq.NameEach + " |", "| " + rabbitmq.NameFull + " |",
		"| " + rabbitmq.NamePublisher + " |", "| " + rabbitmq.NameWatermillPublisher + " |",
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

// A target that is missed by the adapter is written down as missed, and one that
// is met as met.
func TestRabbitTargetsAreJudged(t *testing.T) {
	sample := func(took time.Duration, allocs uint64) series {
		return series{{Messages: 1, Wall: took, CPU: took, Allocs: allocs}}
	}
	r := &rabbitResults{
		consumed: []rabbitCase[rabbitmq.Case]{{of: rabbitmq.Case{Body: 100, Prefetch: 100}, series: map[string]series{
			rabbitmq.NameRaw: sample(100, 40), rabbitmq.NameEach: sample(104, 44), rabbitmq.NameCoalesced: sample(90, 45),
			rabbitmq.NameRuntime: sample(80, 30), rabbitmq.NameFull: sample(200, 30),
		}}},
		published: []rabbitCase[rabbitmq.PublishCase]{{of: rabbitmq.PublishCase{Batch: 1, Callers: 1}, series: map[string]series{
			rabbitmq.NameRawPublisher: sample(80, 1), rabbitmq.NamePublisher: sample(100, 1),
		}}},
	}
	met := make(map[string]bool)
	for _, row := range rabbitTargets(r) {
		met[row[0]] = row[3] == "met"
	}
	const where = "body 100 B, prefetch 100, "
	for what, want := range map[string]bool{
		where + rabbitmq.NameEach + ": CPU of raw":              true,
		where + rabbitmq.NameEach + ": allocations added":       true,
		where + rabbitmq.NameCoalesced + ": CPU of raw":         false,
		where + rabbitmq.NameCoalesced + ": allocations added":  false,
		where + rabbitmq.NameRuntime + ": CPU of raw":           true,
		where + rabbitmq.NameFull + ": messages/s of raw":       false,
		"publisher, batches of 1, 1 at once: messages/s of raw": false,
	} {
		if got, there := met[what]; !there || got != want {
			t.Errorf("%s: met %t (there %t), want %t", what, got, there, want)
		}
	}
}
