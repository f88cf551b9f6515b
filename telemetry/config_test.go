package telemetry

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/anyqueue/anyqueue/broker"
)

// Every fault of a configuration is reported at once, with its field.
func TestConfigReportsEveryFaultAtOnce(t *testing.T) {
	c := Config{Buckets: Buckets{
		Process:   []float64{},
		Operation: []float64{1, 1},
		Dispatch:  []float64{-1},
		Age:       []float64{1, math.NaN()},
	}}
	_, worker := NewWorker(c)
	_, dedupe := NewDedupe(c)
	_, publisher := WrapPublisher(&fakePublisher{}, c)
	for _, err := range []error{worker, dedupe, publisher} {
		if !errors.Is(err, broker.ErrInvalid) {
			t.Fatalf("error %v", err)
		}
		for _, field := range []string{"Buckets.Process", "Buckets.Operation", "Buckets.Dispatch", "Buckets.Age"} {
			if !strings.Contains(err.Error(), field) {
				t.Errorf("%v does not name %s", err, field)
			}
		}
	}
	for _, bad := range [][]float64{{math.Inf(1)}, {2, 1}} {
		if err := checkBuckets("B", bad); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}

// The zero configuration works: global providers, no names.
func TestZeroConfigWorks(t *testing.T) {
	w, err := NewWorker(Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, span := w.Process(t.Context(), delivery(message()))
	w.Processed(ctx, 1, "", nil)
	span.End(OutcomeAck, "", nil)
	unregister, err := w.Observe(func() Snapshot { return Snapshot{} })
	if err != nil {
		t.Fatal(err)
	}
	if err := unregister(); err != nil {
		t.Fatal(err)
	}
	if w.config.System != "_OTHER" {
		t.Errorf("system %q", w.config.System)
	}
}
