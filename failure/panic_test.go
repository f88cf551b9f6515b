package failure_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/anyqueue/anyqueue/failure"
)

func recovered(f func()) (p *failure.PanicError) {
	defer func() {
		if v := recover(); v != nil {
			p = failure.Recovered(v)
		}
	}()
	f()
	return nil
}

//go:noinline
func faulty(list []int, i int) int { return list[i] }

//go:noinline
func throws(v any) { panic(v) }

type order struct{ secret string }

type label string

type explosiveError struct{}

func (*explosiveError) Error() string { panic("again") }

// Rule: a panic reads as "panic: " and its value; of a value that could hold
// anything, its type. A method of the value that panics itself does no harm.
func TestPanicIsPrintedWithItsValue(t *testing.T) {
	circular := map[string]any{}
	circular["self"] = circular
	for _, row := range []struct {
		value any
		want  string
	}{
		{"boom", "panic: boom"},
		{label("boom"), "panic: boom"},
		{io.EOF, "panic: EOF"},
		{42, "panic: 42"},
		{uint8(42), "panic: 42"},
		{-1.5, "panic: -1.5"},
		{2i, "panic: (0+2i)"},
		{true, "panic: true"},
		{nil, "panic: nil"},
		{order{"secret"}, "panic: (failure_test.order)"},
		{&order{"secret"}, "panic: (*failure_test.order)"},
		{circular, "panic: (map[string]interface {})"},
		{explosive{}, "panic: (failure_test.explosive)"},
		{(*explosiveError)(nil), "panic: (*failure_test.explosiveError)"},
		{(*failure.PanicError)(nil), "panic: panic"},
		{"\xff", "panic: \uFFFD"},
	} {
		if got := failure.Recovered(row.value).Error(); got != row.want {
			t.Errorf("%T: %q, want %q", row.value, got, row.want)
		}
	}
	if got := failure.Recovered(strings.Repeat("x", 1<<20)).Error(); len(got) > 20<<10 {
		t.Errorf("a value of 1 MiB is printed as %d bytes", len(got))
	}
}

// Rule: a panic is a bug, wherever in the error it stands, and what it was
// called with can be found in it when that is an error.
func TestPanicIsABug(t *testing.T) {
	p := recovered(func() { throws(fmt.Errorf("charge: %w", sqlError("40001"))) })
	for _, err := range []error{p, fmt.Errorf("a: %w", p), errors.Join(sqlError("40001"), p)} {
		wantClass(t, err, failure.ClassBug)
	}
	var cause sqlError
	if !errors.As(p, &cause) || failure.ErrorType(p) != "40001" {
		t.Errorf("cause %v, error type %q", cause, failure.ErrorType(p))
	}
	if err := recovered(func() { throws("text") }).Unwrap(); err != nil {
		t.Errorf("a text unwraps to %v", err)
	}
	if got := failure.ErrorType(failure.Recovered("text")); got != "*failure.PanicError" {
		t.Errorf("ErrorType = %q", got)
	}
	if got := failure.ErrorType(recovered(func() { faulty(nil, 1) })); got != "runtime.boundsError" {
		t.Errorf("ErrorType = %q", got)
	}
}

// Rule: the stack begins where the panic happened: neither the recovery nor the
// runtime's own frames stand before it.
func TestStackBeginsWhereItPanicked(t *testing.T) {
	var null *order
	none := map[string]map[string]int{}
	for name, row := range map[string]struct {
		f    func()
		want string
	}{
		"explicit": {func() { throws("x") }, ".throws("},
		"index":    {func() { faulty(nil, 3) }, ".faulty("},
		"nil":      {func() { _ = null.secret }, ".TestStackBeginsWhereItPanicked.func"},
		"nil map":  {func() { none["y"]["x"] = 1 }, ".TestStackBeginsWhereItPanicked.func"},
		"in a deferred call": {func() {
			defer throws("second")
			throws("first")
		}, ".throws("},
		"raised again": {func() {
			defer func() { panic(recover()) }()
			throws("first")
		}, ".TestStackBeginsWhereItPanicked.func"},
	} {
		p := recovered(row.f)
		lines := strings.Split(string(p.Stack), "\n")
		if !strings.HasPrefix(lines[0], "goroutine ") || !strings.Contains(lines[1], row.want) || !strings.HasPrefix(lines[2], "\t") {
			t.Errorf("%s: the stack does not begin in %q:\n%s", name, row.want, p.Stack)
		}
		if strings.Contains(string(p.Stack), "failure.Recovered(") {
			t.Errorf("%s: the recovery is in the stack:\n%s", name, p.Stack)
		}
	}
}

// Rule: outside of a recovery the stack begins at the caller.
func TestStackWithoutAPanicBeginsAtTheCaller(t *testing.T) {
	lines := strings.Split(string(failure.Recovered("x").Stack), "\n")
	if len(lines) < 3 || !strings.Contains(lines[1], ".TestStackWithoutAPanicBeginsAtTheCaller(") {
		t.Errorf("stack is %q", lines)
	}
}

// Rule: a deep stack is cut at the end of a line; its top is kept.
func TestDeepStackIsCut(t *testing.T) {
	var dive func(n int)
	dive = func(n int) {
		if n == 0 {
			throws("bottom")
		}
		dive(n - 1)
	}
	p := recovered(func() { dive(1000) })
	if n := len(p.Stack); n > 12<<10 || n < 4<<10 || p.Stack[n-1] != '\n' {
		t.Errorf("stack has %d bytes and ends %q", n, p.Stack[n-20:])
	}
	if !strings.Contains(strings.Split(string(p.Stack), "\n")[1], ".throws(") {
		t.Errorf("stack begins %.200s", p.Stack)
	}
}

// Rule: a panic that is carried on keeps its first stack.
func TestPanicCarriedOnKeepsItsStack(t *testing.T) {
	first := recovered(func() { throws("x") })
	if second := recovered(func() { panic(first) }); second != first {
		t.Errorf("got another error: %v", second)
	}
}
