package failure_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/anyqueue/anyqueue/failure"
)

var constructors = map[failure.Class]func(error) error{
	failure.ClassFormat:     failure.Format,
	failure.ClassDependency: failure.Dependency,
	failure.ClassData:       failure.Data,
	failure.ClassResource:   failure.Resource,
	failure.ClassTimeout:    failure.Timeout,
	failure.ClassBug:        failure.Bug,
}

// Rule: what a handler states counts before every rule, and changes neither the
// message nor what errors.Is and errors.As find. Nil stays nil.
func TestStatedClassCountsAndChangesNothingElse(t *testing.T) {
	cause := &declined{context.DeadlineExceeded}
	for class, state := range constructors {
		err := fmt.Errorf("refund: %w", state(fmt.Errorf("call: %w", cause)))
		if got := failure.Classify(err); got != class {
			t.Errorf("Classify = %q, want %q", got, class)
		}
		if got, want := state(cause).Error(), cause.Error(); got != want {
			t.Errorf("%s: message %q, want %q", class, got, want)
		}
		var as *declined
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &as) {
			t.Errorf("%s hides what it wraps", class)
		}
		if got := failure.ErrorType(err); got != failure.ErrorType(cause) {
			t.Errorf("%s: error type %q", class, got)
		}
		if state(nil) != nil {
			t.Errorf("%s makes an error of nil", class)
		}
	}
}

// Rule: of several statements the outermost counts; of joined ones the first.
func TestOutermostStatementCounts(t *testing.T) {
	plain := errors.New("no")
	for want, err := range map[failure.Class]error{
		failure.ClassData:       failure.Data(fmt.Errorf("a: %w", failure.Dependency(plain))),
		failure.ClassDependency: fmt.Errorf("a: %w", failure.DependencyOf("x", failure.Data(plain))),
		failure.ClassFormat:     errors.Join(sqlError("40001"), failure.Format(plain), failure.Data(plain)),
		failure.ClassResource:   &failure.PanicError{Value: failure.Resource(plain)},
	} {
		if got := failure.Classify(err); got != want {
			t.Errorf("Classify(%#v) = %q, want %q", err, got, want)
		}
	}
}

// Rule: the name of a dependency is found wherever it was given, the outermost
// first.
func TestDependencyKeepsItsName(t *testing.T) {
	plain := errors.New("no")
	for _, row := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{plain, ""},
		{failure.Dependency(plain), ""},
		{failure.DependencyOf("payments", nil), ""},
		{fmt.Errorf("a: %w", failure.DependencyOf("payments", plain)), "payments"},
		{failure.Dependency(failure.DependencyOf("payments", plain)), "payments"},
		{failure.DependencyOf("bank", failure.DependencyOf("payments", plain)), "bank"},
		{errors.Join(plain, failure.DependencyOf("bank", plain)), "bank"},
	} {
		if got := failure.DependencyName(row.err); got != row.want {
			t.Errorf("DependencyName(%v) = %q, want %q", row.err, got, row.want)
		}
	}
}
