package broker

import (
	"errors"
	"fmt"
	"strings"
)

// Categories of errors, to be tested with errors.Is. Adapters wrap the client's
// own error behind them, so that errors.As still reaches it.
var (
	// ErrLeaseLost: the delivery is no longer this consumer's. Nothing was done
	// with it; somebody else has it or will have it.
	ErrLeaseLost = errors.New("lease lost")
	// ErrClosed: the subscription or publisher was closed by its owner.
	ErrClosed = errors.New("closed")
	// ErrDisconnected: the broker cannot be reached now.
	ErrDisconnected = errors.New("disconnected")
	// ErrNotFound: the queue, topic or dead-letter queue does not exist.
	ErrNotFound = errors.New("not found")
	// ErrAccessDenied: the credentials are wrong or lack a permission.
	ErrAccessDenied = errors.New("access denied")
	// ErrTooLarge: a message exceeds what the broker takes.
	ErrTooLarge = errors.New("message too large")
	// ErrFull: the queue or the dead-letter queue takes no more for now.
	ErrFull = errors.New("queue full")
	// ErrUnsupported: this broker cannot do that; see Capabilities.
	ErrUnsupported = errors.New("unsupported")
	// ErrInvalid: an argument or a message is not acceptable as it is.
	ErrInvalid = errors.New("invalid")
)

// Failed is one failed element of a batch.
type Failed struct {
	Index int // position in the slice that was passed
	Err   error
}

// SettleError names the settlements (or extensions) that failed; all others of
// the call succeeded.
type SettleError struct{ Failed []Failed }

func (e *SettleError) Error() string { return batchError("settle", e.Failed) }

// Unwrap returns the errors of the elements.
func (e *SettleError) Unwrap() []error { return batchErrs(e.Failed) }

// PublishError names the messages that are not known to be safe; all others of
// the call are.
type PublishError struct{ Failed []Failed }

func (e *PublishError) Error() string { return batchError("publish", e.Failed) }

// Unwrap returns the errors of the elements.
func (e *PublishError) Unwrap() []error { return batchErrs(e.Failed) }

func batchError(what string, failed []Failed) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d failed", what, len(failed))
	for i, f := range failed {
		if i == 3 { // enough to act on; the rest is reachable with errors.As
			fmt.Fprintf(&b, "; and %d more", len(failed)-i)
			break
		}
		fmt.Fprintf(&b, "; #%d: %v", f.Index, f.Err)
	}
	return b.String()
}

func batchErrs(failed []Failed) []error {
	errs := make([]error, len(failed))
	for i, f := range failed {
		errs[i] = f.Err
	}
	return errs
}

// FieldError is a fault in one field of an options struct. Constructors report
// all of them at once with errors.Join; package config maps Field to its place
// in the file.
type FieldError struct {
	// Field is the Go name, with dots for nested structs: "Retry.MaxAttempts".
	Field string
	// Value is what was given; nil when the fault is that nothing was.
	Value any
	// Problem says what is wrong, the bound, and what to do:
	// "must be at least 1; leave it 0 for the default of 10".
	Problem string
}

func (e *FieldError) Error() string {
	if e.Value == nil {
		return fmt.Sprintf("%s %s", e.Field, e.Problem)
	}
	return fmt.Sprintf("%s = %v: %s", e.Field, e.Value, e.Problem)
}

// Is makes errors.Is(err, ErrInvalid) true.
func (e *FieldError) Is(target error) bool { return target == ErrInvalid }
