package middleware_test

import (
	"context"
	"errors"
	"log/slog"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/runtime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// message returns a first delivery.
func message(id, body string) *broker.Delivery {
	return &broker.Delivery{
		Message: &broker.Message{ID: id, Body: []byte(body), PublishedAt: time.Now()},
		Source:  "orders", Attempt: 1,
	}
}

// wrap puts middleware around h, the first outermost, and fails on a fault in
// options.
func wrap(t testing.TB, h runtime.Handler, chain ...runtime.Middleware) runtime.Handler {
	t.Helper()
	for _, m := range slices.Backward(chain) {
		if m.Err != nil {
			t.Fatalf("%s: %v", m.Name, m.Err)
		}
		h = m.Wrap(h)
	}
	return h
}

func succeed(context.Context, *broker.Delivery) error { return nil }

// returns is a handler with one answer.
func returns(err error) runtime.Handler {
	return func(context.Context, *broker.Delivery) error { return err }
}

// contained runs h the way the runtime does and says how it ended.
func contained(ctx context.Context, h runtime.Handler, d *broker.Delivery) (ended string, err error) {
	done := make(chan struct{})
	ended = "goexit"
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				ended = "panic"
			}
		}()
		err = h(ctx, d)
		ended = "return"
	}()
	<-done
	return ended, err
}

// outcomeOf returns the explicit outcome in err, nil if there is none.
func outcomeOf(err error) *runtime.Outcome {
	o, _ := errors.AsType[*runtime.Outcome](err)
	return o
}

// wantReleased wants a release after low to high.
func wantReleased(t testing.TB, err error, low, high time.Duration) {
	t.Helper()
	o := outcomeOf(err)
	if o == nil || o.Action != broker.Release {
		t.Fatalf("got %v, want a release", err)
	}
	if o.After < low || o.After > high {
		t.Errorf("released for %v, want %v to %v", o.After, low, high)
	}
}

// wantDead wants a dead letter of a class.
func wantDead(t testing.TB, err error, class failure.Class) {
	t.Helper()
	o := outcomeOf(err)
	if o == nil || o.Action != broker.DeadLetter {
		t.Fatalf("got %v, want a dead letter", err)
	}
	wantClass(t, err, class)
}

// wantClass wants a failure of a class.
func wantClass(t testing.TB, err error, class failure.Class) {
	t.Helper()
	if got := failure.Classify(err); got != class {
		t.Errorf("class of %v is %s, want %s", err, got, class)
	}
}

// fieldFaults lists the field errors in err, through all joins.
func fieldFaults(err error) (all []*broker.FieldError) {
	switch e := err.(type) {
	case *broker.FieldError:
		return []*broker.FieldError{e}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, fieldFaults(inner)...)
		}
	case interface{ Unwrap() error }:
		return fieldFaults(e.Unwrap())
	}
	return all
}

// wantFaults wants exactly these fields to be reported.
func wantFaults(t testing.TB, err error, fields ...string) {
	t.Helper()
	var got []string
	for _, f := range fieldFaults(err) {
		got = append(got, f.Field)
	}
	if strings.Join(got, " ") != strings.Join(fields, " ") {
		t.Errorf("faults in %v, want %v\n%v", got, fields, err)
	}
}

// records is a slog.Handler that keeps what it is given.
type records struct {
	level slog.Level
	mu    sync.Mutex
	all   []slog.Record
}

func (r *records) Enabled(_ context.Context, l slog.Level) bool { return l >= r.level }
func (r *records) WithAttrs([]slog.Attr) slog.Handler           { return r }
func (r *records) WithGroup(string) slog.Handler                { return r }

func (r *records) Handle(_ context.Context, rec slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, rec)
	return nil
}

// levels returns the levels of all records and forgets them.
func (r *records) levels() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var s []string
	for _, rec := range r.all {
		s = append(s, rec.Level.String())
	}
	r.all = nil
	return strings.Join(s, " ")
}

// goexit is a handler that ends its goroutine.
func goexit(context.Context, *broker.Delivery) error {
	goruntime.Goexit()
	return nil
}

func panics(context.Context, *broker.Delivery) error { panic("of the handler") }

var errHandler = errors.New("the handler's failure")

// check keeps the examples short. A program handles its errors.
func check(err error) {
	if err != nil {
		panic(err)
	}
}
