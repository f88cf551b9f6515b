package failure_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/anyqueue/anyqueue/failure"
)

type loop struct{ next error }

func (c *loop) Error() string { return "circle" }
func (c *loop) Unwrap() error { return c.next }

// Find finds what errors.As finds, and bears what errors.As does not.
func TestFindBearsHostileErrors(t *testing.T) {
	want := &fs.PathError{Op: "open", Err: errors.New("x")}
	if got, ok := failure.Find[*fs.PathError](fmt.Errorf("a: %w", errors.Join(errors.New("b"), want))); !ok || got != want {
		t.Errorf("found %v %v", got, ok)
	}
	if !failure.Is(fmt.Errorf("a: %w", errors.Join(errors.New("b"), fs.ErrExist)), fs.ErrExist) {
		t.Error("Is does not find what errors.Is finds")
	}
	round := &loop{}
	round.next = round
	for name, err := range map[string]error{
		"nil": nil, "a circle": round, "a nil pointer": (*fs.PathError)(nil), "a wrapped nil pointer": fmt.Errorf("%w", (*fs.PathError)(nil)),
	} {
		if got, ok := failure.Find[*fs.PathError](err); ok {
			t.Errorf("%s: found %v", name, got)
		}
		if failure.Is(err, fs.ErrExist) {
			t.Errorf("%s is fs.ErrExist", name)
		}
	}
}
