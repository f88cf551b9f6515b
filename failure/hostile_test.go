package failure_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/anyqueue/anyqueue/failure"
)

// explosive panics in every method that this package could call.
type explosive struct{ _ []int } // and cannot be compared

func (explosive) Error() string       { panic("Error") }
func (explosive) Unwrap() error       { panic("Unwrap") }
func (explosive) Is(error) bool       { panic("Is") }
func (explosive) As(any) bool         { panic("As") }
func (explosive) SQLState() string    { panic("SQLState") }
func (explosive) ErrorCode() string   { panic("ErrorCode") }
func (explosive) ErrorType() string   { panic("ErrorType") }
func (explosive) HTTPStatusCode() int { panic("HTTPStatusCode") }
func (explosive) StatusCode() int     { panic("StatusCode") }
func (explosive) Timeout() bool       { panic("Timeout") }
func (explosive) Temporary() bool     { panic("Temporary") }
func (explosive) GRPCStatus() *int    { panic("GRPCStatus") }
func (explosive) String() string      { panic("String") }

// explosiveJoin panics when its branches are asked for.
type explosiveJoin struct{}

func (*explosiveJoin) Error() string   { return "join" }
func (*explosiveJoin) Unwrap() []error { panic("Unwrap") }

// circle wraps itself.
type circle struct{ next error }

func (c *circle) Error() string { return "circle" }
func (c *circle) Unwrap() error { return c.next }

// ring joins itself, several times.
type ring struct{ next []error }

func (r *ring) Error() string   { return "ring" }
func (r *ring) Unwrap() []error { return r.next }

// impostor says that it is every error, and every status.
type impostor struct{}

func (impostor) Error() string { return "impostor" }
func (impostor) Is(error) bool { return true }

func hostile() map[string]error {
	c := &circle{}
	c.next = &circle{c}
	r := &ring{}
	r.next = []error{r, nil, r, c, r}
	deep := failure.Data(errors.New("too deep to be seen"))
	for range 10_000 {
		deep = &circle{deep}
	}
	wide := make([]error, 1_000_000)
	for i := range wide {
		wide[i] = c
	}
	return map[string]error{
		"every method panics":    explosive{},
		"joined and wrapped":     fmt.Errorf("%w and %w", errors.Join(&explosiveJoin{}, &ring{[]error{explosive{}}}), &circle{explosive{}}),
		"inside of an operation": &url.Error{Op: "Get", URL: "x", Err: explosive{}},
		"circle":                 c,
		"ring":                   r,
		"ring in an operation":   &net.OpError{Op: "dial", Err: r},
		"deep":                   deep,
		"wide":                   &ring{wide},
		"typed nil":              (*circle)(nil),
		"typed nil operation":    (*net.OpError)(nil),
		"typed nil URL error":    (*url.Error)(nil),
		"typed nil JSON error":   (*json.SyntaxError)(nil),
		"typed nil MySQL error":  (*MySQLError)(nil),
		"typed nil gRPC error":   (*grpcError)(nil),
		"typed nil panic":        (*failure.PanicError)(nil),
		"empty operation":        &net.OpError{},
		"long":                   errors.New(strings.Repeat("0123 'x \xff\"", 1<<20)),
		"quotes":                 errors.New(strings.Repeat(" 'a \"a `a [::", 1<<16)),
		"empty":                  errors.New(""),
		"impostor in operation":  &url.Error{Op: "Get", Err: impostor{}},
		"panic with a bomb":      failure.Recovered(explosive{}),
		"stated bomb":            failure.DependencyOf("x", explosive{}),
	}
}

// Rule: no error, however it was made, causes a panic or unbounded work, and
// whatever is said of it is valid text within its bounds.
func TestHostileErrorsAreBorneInBoundedTime(t *testing.T) {
	for name, err := range hostile() {
		t.Run(name, func(t *testing.T) {
			class := failure.Classify(err)
			if !class.Valid() {
				t.Errorf("Classify = %q", class)
			}
			if got := failure.ErrorType(err); got == "" || len(got) > 128 || !utf8.ValidString(got) {
				t.Errorf("ErrorType = %q", got)
			}
			if got := failure.Fingerprint(class, err); len(got) != 16 || got != failure.Fingerprint(class, err) {
				t.Errorf("Fingerprint = %q", got)
			}
			_ = failure.DependencyName(err)
			r := failure.Next(nil, failure.Observation{Err: err, Attempt: 1})
			checkBounds(t, r)
			b, encodeErr := r.Encode()
			if encodeErr != nil || len(b) > failure.MaxRecordBytes {
				t.Errorf("Encode: %d bytes, %v", len(b), encodeErr)
			}
		})
	}
}

// Rule: a method that panics says nothing; what else the error holds still
// counts.
func TestPanickingMethodHidesOnlyItself(t *testing.T) {
	err := errors.Join(explosive{}, &explosiveJoin{}, fmt.Errorf("a: %w", syscall.ECONNREFUSED))
	wantClass(t, err, failure.ClassDependency)
	wantClass(t, errors.Join(explosive{}, failure.Data(explosive{})), failure.ClassData)
	if got := failure.ErrorType(err); got != "ECONNREFUSED" {
		t.Errorf("ErrorType = %q", got)
	}
}

// Rule: 64 links inwards and 256 errors in all are looked at.
func TestOnlySoMuchOfAnErrorIsLookedAt(t *testing.T) {
	nested := func(depth int) error {
		err := context.DeadlineExceeded
		for range depth {
			err = &circle{err}
		}
		return err
	}
	wantClass(t, nested(63), failure.ClassTimeout)
	wantClass(t, nested(64), failure.ClassUnclassified)

	beside := func(others int) error {
		plain := errors.New("no")
		var all []error
		for range others {
			all = append(all, plain)
		}
		return errors.Join(append(all, context.DeadlineExceeded)...)
	}
	wantClass(t, beside(254), failure.ClassTimeout)
	wantClass(t, beside(255), failure.ClassUnclassified)
}
