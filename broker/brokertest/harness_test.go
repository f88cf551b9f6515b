package brokertest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

var _ T = (*testing.T)(nil)

// fieldsOf returns the fields that an error finds fault with.
func fieldsOf(err error) []string {
	var fields []string
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			if f, ok := errors.AsType[*broker.FieldError](err); ok {
				fields = append(fields, f.Field)
			}
		}
	}
	return fields
}

// A harness that cannot work is refused with all its faults at once.
func TestEveryFaultOfAHarnessIsNamed(t *testing.T) {
	h := Harness{
		Patience: -1, Quiet: -time.Second, LongestWait: -1,
		Precision: time.Second, Lease: 2 * time.Second, Delay: -1,
	}
	want := []string{
		"Harness.NewQueue", "Harness.Patience", "Harness.Quiet", "Harness.Delay", "Harness.LongestWait", "Harness.Lease",
	}
	if have := fieldsOf(h.withDefaults().validate()); !slices.Equal(have, want) {
		t.Errorf("faults are found in %q, want %q", have, want)
	}
	if have := fieldsOf(Queue{}.validate()); !slices.Equal(have, []string{"Queue.Name", "Queue.Subscribe", "Queue.Publisher"}) {
		t.Errorf("faults of an empty queue are found in %q", have)
	}
}

// The zero value of each time is its default, and a negative Precision is none.
func TestZeroTimesAreDefaults(t *testing.T) {
	h := Harness{NewQueue: func(T, QueueSpec) Queue { return Queue{} }}.withDefaults()
	if err := h.validate(); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
	if h.Patience != 10*time.Second || h.Quiet != 500*time.Millisecond || h.Precision != 20*time.Millisecond ||
		h.Lease != 3*time.Second || h.Delay != time.Second || h.LongestWait != time.Minute {
		t.Errorf("the defaults are %+v", h)
	}
	if h := (Harness{Precision: -1}).withDefaults(); h.Precision != 0 {
		t.Errorf("Precision -1 means %v, want 0", h.Precision)
	}
}

// A harness that leases for less than a case asked would make cases fail that
// say nothing of leases: it is found out at once, with what to do.
func TestAHarnessThatIgnoresTheLeaseIsFoundOut(t *testing.T) {
	h := memoryHarness(memoryOptions{}).withDefaults()
	newQueue := h.NewQueue
	h.NewQueue = func(t T, spec QueueSpec) Queue {
		spec.Lease = time.Second
		return newQueue(t, spec)
	}
	r := observe(t, h, "group", testCase{run: func(e *env) { e.queue().consumer() }})
	if _, detail := r.result(); !strings.Contains(detail, "got Capabilities.Lease of 1s; raise it in Harness.NewQueue") {
		t.Errorf("the case reports %q", detail)
	}
}

// A queue without a required function is refused before a case uses it.
func TestAQueueThatCannotBeUsedIsRefused(t *testing.T) {
	h := Harness{NewQueue: func(T, QueueSpec) Queue { return Queue{Name: "only a name"} }}.withDefaults()
	r := observe(t, h, "group", testCase{run: func(e *env) { e.queue() }})
	if len(r.faults) != 1 || !strings.Contains(r.faults[0], "Queue.Subscribe is missing") || !strings.Contains(r.faults[0], "Queue.Publisher") {
		t.Errorf("the case reports %q", r.faults)
	}
}

// What a case was skipped for is said, and it counts as skipped although it ran
// in a bubble.
func TestASkipInABubbleIsASkip(t *testing.T) {
	skipped := false
	t.Run("case", func(t *testing.T) {
		t.Cleanup(func() { skipped = t.Skipped() })
		runInBubble(t, Harness{Bubble: synctest.Test}, testCase{run: func(e *env) { e.needs(false, "what is not there") }})
	})
	if !skipped {
		t.Errorf("the case was not skipped")
	}
}

// Hooks that are missing skip exactly the cases that need them.
func TestMissingHooksSkipTheirCases(t *testing.T) {
	h := memoryHarness(memoryOptions{}).withDefaults()
	newQueue := h.NewQueue
	h.NewQueue = func(t T, spec QueueSpec) Queue {
		q := newQueue(t, spec)
		q.Kill, q.Drop, q.FailNext = nil, nil, nil
		return q
	}
	for _, g := range groups() {
		for _, c := range g.cases {
			word, detail := observe(t, h, g.name, c).result()
			if word == "failed" {
				t.Errorf("%s/%s: %s", g.name, c.name, detail)
			}
			if hook := g.name == "disconnect" || g.name == "fault"; hook && word != "skipped" {
				t.Errorf("%s/%s %s without its hook", g.name, c.name, word)
			}
		}
	}
}
