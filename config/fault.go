package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/anyqueue/anyqueue/broker"
)

// Fault is one thing wrong with a configuration file.
type Fault struct {
	// File is the name given to [Load] or [Parse].
	File string `json:"file"`
	// Line and Column are where it is, both from 1; columns count characters. A
	// key that is missing is reported where it could stand.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Path is the key that is at fault, with dots: "consumer.retry.max_attempts".
	// Empty when the file as a whole is.
	Path string `json:"path,omitempty"`
	// Problem says what is wrong and what to do. It never holds a secret.
	Problem string `json:"problem"`

	cause error // reachable with errors.Is and errors.As; may be nil
}

// String returns the fault as "file:line:column: path: problem".
func (f Fault) String() string {
	if f.Path == "" {
		return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Problem)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", f.File, f.Line, f.Column, f.Path, f.Problem)
}

// Error is everything that is wrong with a configuration file. It matches
// [broker.ErrInvalid], and errors.As reaches the [*broker.FieldError] of faults
// that options and settings found themselves.
type Error struct {
	// Faults are in the order of the file; there is at least one.
	Faults []Fault
}

// Error returns one fault per line.
func (e *Error) Error() string {
	var b strings.Builder
	for i, f := range e.Faults {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(f.String())
	}
	return b.String()
}

// Is makes errors.Is(err, broker.ErrInvalid) true.
func (e *Error) Is(target error) bool { return target == broker.ErrInvalid }

// Unwrap returns the errors behind the faults.
func (e *Error) Unwrap() []error {
	var causes []error
	for _, f := range e.Faults {
		if f.cause != nil {
			causes = append(causes, f.cause)
		}
	}
	return causes
}

// newError returns the faults in the order of the file, each once, as an error;
// nil when there are none.
func newError(faults []Fault) error {
	if len(faults) == 0 {
		return nil
	}
	slices.SortStableFunc(faults, func(a, b Fault) int {
		return cmp.Or(
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Path, b.Path),
			cmp.Compare(a.Problem, b.Problem),
		)
	})
	same := func(a, b Fault) bool { return a.String() == b.String() }
	return &Error{Faults: slices.CompactFunc(faults, same)}
}
