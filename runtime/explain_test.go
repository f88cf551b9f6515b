package runtime_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

func explain(w *world, q memory.SubscribeOptions, o runtime.Options) runtime.Explanation {
	w.Helper()
	o.Logger = quiet
	c, err := runtime.New(w.subscribe(q), func(context.Context, *broker.Delivery) error { return nil }, o)
	if err != nil {
		w.Fatal(err)
	}
	return c.Explain()
}

// Explain states worst cases, not settings.
func TestExplainStatesTheWorstCases(t *testing.T) {
	inWorld(t, memory.Queue{Lease: 30 * time.Second}, func(w *world) {
		e := explain(w, memory.SubscribeOptions{}, runtime.Options{
			Timeout: 10 * time.Second,
			Retry:   runtime.RetryPolicy{MaxAttempts: 3, Backoff: runtime.Backoff{Initial: time.Second, Max: time.Minute}},
		})
		if e.MaxRuns != 3*(5+1) || e.AttemptLimit != 10*time.Second || e.LeaseMargin != 10*time.Second {
			t.Errorf("%+v", e)
		}
		// Dependency waits longest: 1 s and 3 s between three attempts of 10 s.
		if want := 34 * time.Second; e.TimeToDeadLetter != want {
			t.Errorf("time to dead letter %s, want %s", e.TimeToDeadLetter, want)
		}
		for _, want := range []string{
			`consumer "memory/jobs" on memory, queue "jobs"`, "at most 18, each attempt again", "dependency", "3 attempts, waits up to 1s, 3s (broker)",
			"format", "dead-lettered at once",
		} {
			if !strings.Contains(e.String(), want) {
				t.Errorf("%q is missing in:\n%s", want, e)
			}
		}
	})
}

// What a broker cannot do is said.
func TestExplainNotesWhatTheBrokerCannotDo(t *testing.T) {
	q := memory.Queue{Lease: 30 * time.Second, Without: memory.Without{
		Extend: true, Attempts: true, Abandoned: true, Delay: true, KeyOrder: true,
	}}
	inWorld(t, q, func(w *world) {
		e := explain(w, memory.SubscribeOptions{}, runtime.Options{
			Ordering: runtime.OrderKey, Retry: runtime.RetryPolicy{MaxAttempts: 3},
		})
		if e.MaxRuns != 6 || e.AttemptLimit != 27*time.Second {
			t.Errorf("%+v", e)
		}
		notes := strings.Join(e.Notes, "\n")
		for _, want := range []string{"counts deliveries, not attempts", "a release spends an attempt", "how often a message was abandoned", "cannot delay", "to several consumers", "Timeout is not set"} {
			if !strings.Contains(notes, want) {
				t.Errorf("%q is missing in:\n%s", want, notes)
			}
		}
	})
}
