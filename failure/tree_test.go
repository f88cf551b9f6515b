package failure

import (
	"errors"
	"fmt"
	"testing"
)

// noteOfOurs stands for the wrappers of this module's own packages, such as the
// outcome that a handler asks for.
type noteOfOurs struct{ err error }

func (n *noteOfOurs) Error() string { return "note: " + n.err.Error() }
func (n *noteOfOurs) Unwrap() error { return n.err }

type faultOfOurs struct{}

func (faultOfOurs) Error() string { return "fault" }

// Rule: an error is never named by this module's note on it, but an error of
// this module's own is named by its type.
func TestErrorIsNotNamedByOurNoteOnIt(t *testing.T) {
	plain := errors.New("no")
	for _, row := range []struct {
		err  error
		want string
	}{
		{&noteOfOurs{plain}, "*errors.errorString"},
		{fmt.Errorf("a: %w", Data(&noteOfOurs{plain})), "*errors.errorString"},
		{&noteOfOurs{faultOfOurs{}}, "failure.faultOfOurs"},
		{&PanicError{Value: plain}, "*failure.PanicError"},
	} {
		if got := ErrorType(row.err); got != row.want {
			t.Errorf("ErrorType(%T) = %q, want %q", row.err, got, row.want)
		}
	}
}

// Rule: joined errors are visited one branch after the other, outermost first,
// without those that are nil.
func TestTreeIsVisitedInTheOrderOfErrorsAs(t *testing.T) {
	a, b, c := errors.New("a"), errors.New("b"), errors.New("c")
	err := fmt.Errorf("%w | %w", fmt.Errorf("[%w]", errors.Join(a, nil, b)), c)
	var got []string
	var depths []int
	for n := range nodes(err) {
		got = append(got, n.err.Error())
		depths = append(depths, n.depth)
	}
	if fmt.Sprintf("%q %v", got, depths) != `["[a\nb] | c" "[a\nb]" "a\nb" "a" "b" "c"] [0 1 2 3 3 1]` {
		t.Errorf("visited %q at depths %v", got, depths)
	}
}
