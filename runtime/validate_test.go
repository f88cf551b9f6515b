package runtime_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

// faultyFields are the names of the fields that err complains of, sorted.
func faultyFields(err error) []string {
	var fields []string
	var walk func(error)
	walk = func(err error) {
		if f, ok := err.(*broker.FieldError); ok {
			fields = append(fields, f.Field)
			return
		}
		switch x := err.(type) {
		case interface{ Unwrap() []error }:
			for _, e := range x.Unwrap() {
				walk(e)
			}
		case interface{ Unwrap() error }:
			walk(x.Unwrap())
		}
	}
	walk(err)
	slices.Sort(fields)
	return slices.Compact(fields)
}

// Every fault is reported at once, each with its field, value and bound.
func TestEveryFaultOfTheOptionsIsReportedAtOnce(t *testing.T) {
	bad := runtime.Options{
		Concurrency:      -1,
		MaxInFlight:      -5,
		MaxInFlightBytes: -1,
		Ordering:         "fifo",
		Timeout:          -time.Second,
		MaxLease:         -time.Second,
		BatchSize:        -3,
		StopTimeout:      -1,
		StallAfter:       -1,
		Retry: runtime.RetryPolicy{
			MaxAttempts: 5000, MaxElapsed: -1, MaxHold: -1,
			Backoff: runtime.Backoff{Initial: time.Minute, Max: time.Second, Factor: 0.5, Jitter: 2},
			Classes: map[failure.Class]runtime.ClassPolicy{"odd": {}, failure.ClassBug: {MaxAttempts: 6000}},
		},
		Middleware: []runtime.Middleware{{}, {Name: "broken", Err: &broker.FieldError{Field: "Retention", Problem: "must be set"}}},
	}
	want := []string{
		"BatchSize", "Concurrency", "MaxInFlight", "MaxInFlightBytes", "MaxLease", "Middleware[0].Name", "Middleware[0].Wrap", "Ordering",
		"Retention", "Retry.Backoff.Factor", "Retry.Backoff.Jitter", "Retry.Backoff.Max", "Retry.Classes[bug].MaxAttempts",
		"Retry.Classes[odd]", "Retry.MaxAttempts", "Retry.MaxElapsed", "Retry.MaxHold", "StallAfter", "StopTimeout", "Timeout",
	}
	if got := faultyFields(bad.Validate()); !slices.Equal(got, want) {
		t.Errorf("complained of %v\nwant %v", got, want)
	}
	if err := (runtime.Options{}).Validate(); err != nil {
		t.Errorf("the zero value is faulty: %v", err)
	}
}

// The same unique middleware twice is a fault.
func TestUniqueMiddlewareTwiceIsAFault(t *testing.T) {
	m := runtime.Middleware{Name: "dedupe", Unique: true, Wrap: func(h runtime.Handler) runtime.Handler { return h }}
	if err := (runtime.Options{Middleware: []runtime.Middleware{m}}).Validate(); err != nil {
		t.Errorf("once is refused: %v", err)
	}
	if got := faultyFields(runtime.Options{Middleware: []runtime.Middleware{m, m}}.Validate()); !slices.Equal(got, []string{"Middleware[1]"}) {
		t.Errorf("complained of %v", got)
	}
}

// What a broker makes impossible is refused at construction.
func TestImpossibleCombinationsWithTheBrokerAreRefused(t *testing.T) {
	ok := func(context.Context, *broker.Delivery) error { return nil }
	okBatch := func(context.Context, []*broker.Delivery) error { return nil }
	for name, c := range map[string]struct {
		queue   memory.Queue
		options runtime.Options
		want    string
	}{
		"timeout beyond a lease that cannot be extended": {
			memory.Queue{Lease: 10 * time.Second, Without: memory.Without{Extend: true}}, runtime.Options{Timeout: 10 * time.Second}, "Timeout",
		},
		"batch wait beyond a lease that cannot be extended": {
			memory.Queue{Lease: 30 * time.Second, Without: memory.Without{Extend: true}}, runtime.Options{BatchWait: time.Minute}, "BatchWait",
		},
		"batch wait beyond the longest lease": {
			memory.Queue{}, runtime.Options{BatchWait: 2 * time.Minute, MaxLease: time.Minute}, "BatchWait",
		},
		"held retries beyond a lease that cannot be extended": {
			memory.Queue{Lease: 30 * time.Second, Without: memory.Without{KeyOrder: true, Extend: true}},
			runtime.Options{Ordering: runtime.OrderKey},
			"Retry.Backoff",
		},
		"held retries beyond the longest lease": {
			memory.Queue{Without: memory.Without{Delay: true}}, runtime.Options{MaxLease: 30 * time.Second}, "Retry.Backoff",
		},
		"lease beyond the broker's cap":      {memory.Queue{MaxLease: time.Minute}, runtime.Options{MaxLease: time.Hour}, "MaxLease"},
		"hold beyond the lease's cap":        {memory.Queue{MaxLease: time.Minute}, runtime.Options{Retry: runtime.RetryPolicy{MaxHold: time.Minute}}, "Retry.MaxHold"},
		"order without keys":                 {memory.Queue{Without: memory.Without{Keys: true}}, runtime.Options{Ordering: runtime.OrderKey}, "Ordering"},
		"budget above the delivery limit":    {memory.Queue{DeliveryLimit: 10}, runtime.Options{Retry: runtime.RetryPolicy{MaxAttempts: 5}}, "Retry.MaxAttempts"},
		"nowhere to put what fails for good": {memory.Queue{Without: memory.Without{DeadLetters: true}}, runtime.Options{}, "Subscription"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, c.queue, func(w *world) {
				_, err := runtime.New(w.subscribe(memory.SubscribeOptions{}), ok, c.options)
				if c.options.BatchWait != 0 {
					_, err = runtime.NewBatch(w.subscribe(memory.SubscribeOptions{}), okBatch, c.options)
				}
				if got := faultyFields(err); !slices.Equal(got, []string{c.want}) || !errors.Is(err, broker.ErrInvalid) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// A nil handler or subscription is an error that says so.
func TestNilHandlerAndNilSubscriptionAreRefused(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		if _, err := runtime.New(w.subscribe(memory.SubscribeOptions{}), nil, runtime.Options{}); !slices.Equal(faultyFields(err), []string{"Handler"}) {
			t.Errorf("got %v", err)
		}
		if _, err := runtime.NewBatch(nil, nil, runtime.Options{}); !slices.Equal(faultyFields(err), []string{"Handler", "Subscription"}) {
			t.Errorf("got %v", err)
		}
		if h := runtime.JSON[int](nil); h != nil {
			t.Error("a typed handler hides that it is nil")
		}
	})
}

// Middleware whose Wrap returns nil is refused: it would take the chain away.
func TestMiddlewareThatWrapsToNilIsRefused(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		outer := runtime.Middleware{Name: "outer", Wrap: func(h runtime.Handler) runtime.Handler { return h }}
		null := runtime.Middleware{Name: "null", Wrap: func(runtime.Handler) runtime.Handler { return nil }}
		o := runtime.Options{Middleware: []runtime.Middleware{outer, null}}
		want := []string{"Middleware[1].Wrap"}
		_, err := runtime.New(w.subscribe(memory.SubscribeOptions{}), func(context.Context, *broker.Delivery) error { return nil }, o)
		if got := faultyFields(err); !slices.Equal(got, want) {
			t.Errorf("New: %v", err)
		}
		_, err = runtime.NewBatch(w.subscribe(memory.SubscribeOptions{}), func(context.Context, []*broker.Delivery) error { return nil }, o)
		if got := faultyFields(err); !slices.Equal(got, want) {
			t.Errorf("NewBatch: %v", err)
		}
	})
}
