package telemetry

import (
	"context"
	"errors"
	"reflect"
	"strings"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/anyqueue/anyqueue/broker"
)

// errorTypeOther is error.type when there is nothing to say or no room left.
var errorTypeOther = semconv.ErrorTypeOther.Value.AsString()

// maxErrorType bounds the length of error.type in bytes: it is a name, not a text.
const maxErrorType = 128

// stableCodes are stable names for errors whose Go type says nothing.
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
	{context.DeadlineExceeded, "deadline_exceeded"},
	{context.Canceled, "canceled"},
}

// ErrorType names what err is, for the attribute error.type: never its text.
//
// An error in the chain that has a method ErrorType() string names itself.
// Otherwise it is the Go type of the outermost error that says something:
// wrappers made with fmt.Errorf and errors.Join and those of this module are
// looked through. Errors that are only values get a stable code
// ("disconnected", "canceled"). It is "_OTHER" for nil.
func ErrorType(err error) string {
	if err == nil {
		return errorTypeOther
	}
	var named interface{ ErrorType() string }
	if errors.As(err, &named) {
		if name := named.ErrorType(); name != "" {
			return clip(name)
		}
	}
	telling := lookThrough(err)
	if isPlain(telling) {
		for _, c := range stableCodes {
			if errors.Is(err, c.err) {
				return c.code
			}
		}
	}
	return clip(semconv.ErrorType(telling).Value.AsString())
}

func clip(name string) string {
	if len(name) <= maxErrorType {
		return name
	}
	return strings.ToValidUTF8(name[:maxErrorType], "")
}

// lookThrough descends to the outermost error whose type says something. A
// wrapper around several leads to the first of them that does.
func lookThrough(err error) error {
	if !isWrapper(err) {
		return err
	}
	switch w := err.(type) { //nolint:errorlint // one link of the chain at a time
	case interface{ Unwrap() error }:
		if inner := w.Unwrap(); inner != nil {
			return lookThrough(inner)
		}
	case interface{ Unwrap() []error }:
		var plain error
		for _, inner := range w.Unwrap() {
			if inner == nil {
				continue
			}
			telling := lookThrough(inner)
			if !isPlain(telling) {
				return telling
			}
			if plain == nil {
				plain = telling
			}
		}
		if plain != nil {
			return plain
		}
	}
	return err
}

var plainType = reflect.TypeOf(errors.New(""))

// isPlain says that err is a mere value, whose type says nothing.
func isPlain(err error) bool {
	return reflect.TypeOf(err) == plainType || err == context.DeadlineExceeded //nolint:errorlint // this value, not its wrappers
}

// isWrapper says that err only adds to what it wraps: a text, or a note of ours
// such as a class of failure.
func isWrapper(err error) bool {
	t := reflect.TypeOf(err)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch pkg := t.PkgPath(); pkg {
	case "fmt", "errors":
		return true
	default:
		return strings.HasPrefix(pkg, modulePath+"/")
	}
}
