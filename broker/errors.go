package broker

import (
	"fmt"
	"strings"

	"github.com/anyqueue/anyqueue/failure"
)

// Categories of errors, to be tested with errors.Is. Adapters wrap the client's
// own error behind them, so that errors.As still reaches it. Those that a handler
// may meet when it publishes are classified (package failure): a broker that
// cannot be reached is a dependency that failed, a full queue a resource.
var (
	// ErrLeaseLost: the delivery is no longer this consumer's. Nothing was done
	// with it; somebody else has it or will have it.
	ErrLeaseLost error = &category{"lease lost", "lease_lost"}
	// ErrClosed: the subscription or publisher was closed by its owner.
	ErrClosed error = &category{"closed", "closed"}
	// ErrDisconnected: the broker cannot be reached now.
	ErrDisconnected = failure.Dependency(&category{"disconnected", "disconnected"})
	// ErrNotFound: the queue, topic or dead-letter queue does not exist.
	ErrNotFound = failure.Dependency(&category{"not found", "not_found"})
	// ErrAccessDenied: the credentials are wrong or lack a permission.
	ErrAccessDenied = failure.Dependency(&category{"access denied", "access_denied"})
	// ErrTooLarge: a message exceeds what the broker takes.
	ErrTooLarge = failure.Data(&category{"message too large", "too_large"})
	// ErrFull: the queue or the dead-letter queue takes no more for now.
	ErrFull = failure.Resource(&category{"queue full", "full"})
	// ErrUnsupported: this broker cannot do that; see Capabilities.
	ErrUnsupported error = &category{"unsupported", "unsupported"}
	// ErrInvalid: an argument or a message is not acceptable as it is.
	ErrInvalid error = &category{"invalid", "invalid"}
)

// category is one of the errors above. Its code is OpenTelemetry's error.type.
type category struct{ text, code string }

func (c *category) Error() string { return c.text }

// ErrorType returns the code, for failure.ErrorType.
func (c *category) ErrorType() string { return c.code }

// FinalReceive says whether calling Receive again is of no use after err.
func FinalReceive(err error) bool {
	return failure.Is(err, ErrClosed) || failure.Is(err, ErrNotFound) || failure.Is(err, ErrAccessDenied) || failure.Is(err, ErrUnsupported)
}

// FinalSettle says whether the same settlement will never succeed after err. One
// that matches [ErrLeaseLost] is final because the delivery is gone, any other
// although it is still leased.
func FinalSettle(err error) bool {
	return failure.Is(err, ErrLeaseLost) || failure.Is(err, ErrUnsupported) || failure.Is(err, ErrTooLarge)
}

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
func (e *SettleError) Unwrap() []error {
	if e == nil {
		return nil
	}
	return batchErrs(e.Failed)
}

// PublishError names the messages that are not known to be safe; all others of
// the call are.
type PublishError struct{ Failed []Failed }

func (e *PublishError) Error() string { return batchError("publish", e.Failed) }

// Unwrap returns the errors of the elements.
func (e *PublishError) Unwrap() []error {
	if e == nil {
		return nil
	}
	return batchErrs(e.Failed)
}

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

// ErrorType is that of ErrInvalid.
func (e *FieldError) ErrorType() string { return "invalid" }

// Is makes errors.Is(err, ErrInvalid) true.
func (e *FieldError) Is(target error) bool { return target == ErrInvalid }
