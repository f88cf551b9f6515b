package telemetry

import (
	"context"
	"errors"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/anyqueue/anyqueue/failure"
)

// errorTypeOther is error.type when there is nothing to say or no room left.
var errorTypeOther = semconv.ErrorTypeOther.Value.AsString()

// ErrorType names err for the attribute error.type, never by its text: what
// [failure.ErrorType] says, "canceled" for a cancelled context, which has no
// telling type, and "_OTHER" for nil.
func ErrorType(err error) string {
	name := failure.ErrorType(err)
	switch {
	case name == "":
		return errorTypeOther
	case name == "*errors.errorString" && errors.Is(err, context.Canceled):
		return "canceled"
	default:
		return name
	}
}
