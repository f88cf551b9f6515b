package telemetry

import (
	"context"
	"errors"
	"strings"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// errorTypeOther is error.type when there is nothing to say or no room left.
var errorTypeOther = semconv.ErrorTypeOther.Value.AsString()

// stableCodes name the errors of the contract, which are mere values: their Go
// type says nothing.
var stableCodes = []struct {
	err  error
	code string
}{
	{broker.ErrLeaseLost, "lease_lost"},
	{broker.ErrClosed, "closed"},
	{broker.ErrDisconnected, "disconnected"},
	{broker.ErrNotFound, "not_found"},
	{broker.ErrAccessDenied, "access_denied"},
	{broker.ErrTooLarge, "too_large"},
	{broker.ErrFull, "full"},
	{broker.ErrUnsupported, "unsupported"},
	{broker.ErrInvalid, "invalid"},
	{context.Canceled, "canceled"},
}

// ErrorType names err for the attribute error.type, never by its text: what
// [failure.ErrorType] says, and a stable code ("disconnected", "lease_lost") for
// the errors of package broker that have no telling type. It is "_OTHER" for nil.
func ErrorType(err error) string {
	name := failure.ErrorType(err)
	if name == "" {
		return errorTypeOther
	}
	switch pkg, _, _ := strings.Cut(name, "."); pkg {
	case "*errors", "*fmt", "*broker": // a value, a wrapper, a list of failed elements
		for _, c := range stableCodes {
			if errors.Is(err, c.err) {
				return c.code
			}
		}
	}
	return name
}
