package broker_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// A batch error names its elements and reaches each of their causes.
func TestBatchErrorsReachEveryCause(t *testing.T) {
	err := error(&broker.SettleError{Failed: []broker.Failed{
		{Index: 1, Err: fmt.Errorf("a: %w", broker.ErrLeaseLost)},
		{Index: 4, Err: broker.ErrFull},
		{Index: 5, Err: broker.ErrFull},
		{Index: 6, Err: broker.ErrFull},
	}})
	if !errors.Is(err, broker.ErrLeaseLost) || !errors.Is(err, broker.ErrFull) || errors.Is(err, broker.ErrClosed) {
		t.Errorf("causes of %v", err)
	}
	for _, want := range []string{"4 failed", "#1: a: lease lost", "and 1 more"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %q", want, err)
		}
	}
}

// What is unknown is null, never 0.
func TestUnknownStatsAreNullNeverZero(t *testing.T) {
	in := broker.Stats{Ready: broker.Known(int64(0)), OldestAge: broker.Known(time.Second)}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"ready":0,"in_flight":null,"delayed":null,"oldest_age_ns":1000000000,"dead_letters":null}`
	if string(b) != want {
		t.Errorf("got %s", b)
	}
	var out broker.Stats
	if err := json.Unmarshal(b, &out); err != nil || out != in {
		t.Errorf("round trip: %+v, %v", out, err)
	}
}

// A session ends once; the first cause stays.
func TestSessionEndsOnceAndKeepsItsFirstCause(t *testing.T) {
	s := broker.NewSession("channel 3")
	if s.Cause() != nil || s.Name() != "channel 3" {
		t.Errorf("live session: %v %q", s.Cause(), s.Name())
	}
	s.End(broker.ErrDisconnected)
	s.End(broker.ErrClosed)
	<-s.Lost()
	if !errors.Is(s.Cause(), broker.ErrDisconnected) {
		t.Errorf("cause %v", s.Cause())
	}
}

// A fault in a field names field, value and problem, and is an ErrInvalid.
func TestFieldErrorNamesFieldValueAndProblem(t *testing.T) {
	err := &broker.FieldError{Field: "Retry.MaxAttempts", Value: -1, Problem: "must be 1 to 1000"}
	if err.Error() != "Retry.MaxAttempts = -1: must be 1 to 1000" || !errors.Is(err, broker.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// The contract's errors have a class and a code of their own, through wrapping.
func TestCategoriesAreClassifiedAndNamed(t *testing.T) {
	for err, want := range map[error][2]string{
		broker.ErrDisconnected: {"dependency", "disconnected"},
		broker.ErrAccessDenied: {"dependency", "access_denied"},
		broker.ErrFull:         {"resource", "full"},
		broker.ErrTooLarge:     {"data", "too_large"},
		broker.ErrLeaseLost:    {"unclassified", "lease_lost"},
	} {
		wrapped := fmt.Errorf("publish: %w", err)
		if got := [2]string{string(failure.Classify(wrapped)), failure.ErrorType(wrapped)}; got != want || !errors.Is(wrapped, err) {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}
