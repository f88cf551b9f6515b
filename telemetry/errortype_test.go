package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/anyqueue/anyqueue/broker"
)

// namedError names its own type.
type namedError string

func (e namedError) Error() string     { return "named" }
func (e namedError) ErrorType() string { return string(e) }

// wrapperOfOurs stands for the wrappers of other packages of this module: a
// failure's class, an outcome.
type wrapperOfOurs struct{ err error }

func (w *wrapperOfOurs) Error() string { return "ours: " + w.err.Error() }
func (w *wrapperOfOurs) Unwrap() error { return w.err }

// final is an error of ours that wraps nothing.
type final struct{}

func (final) Error() string { return "final" }

// error.type is the first thing in the chain that says what went wrong, never a
// wrapper and never a text.
func TestErrorTypeSaysWhatWentWrong(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: errors.New("refused")}
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, "_OTHER"},
		{errors.New("id 4711"), "*errors.errorString"},
		{dial, "*net.OpError"},
		{fmt.Errorf("pay: %w", dial), "*net.OpError"},
		{&url.Error{Op: "Get", Err: dial}, "*url.Error"},
		{&wrapperOfOurs{fmt.Errorf("pay: %w", dial)}, "*net.OpError"},
		{fmt.Errorf("x: %w", &wrapperOfOurs{errors.New("y")}), "*errors.errorString"},
		{final{}, "github.com/anyqueue/anyqueue/telemetry.final"},
		{&json.SyntaxError{}, "*json.SyntaxError"},
		{fmt.Errorf("publish: %w: %w", broker.ErrDisconnected, dial), "*net.OpError"},
		{fmt.Errorf("publish: %w: %w", errors.New("y"), broker.ErrFull), "full"},
		{errors.Join(errors.New("x"), dial), "*net.OpError"},
		{broker.ErrLeaseLost, "lease_lost"},
		{fmt.Errorf("settle: %w", broker.ErrLeaseLost), "lease_lost"},
		{&broker.SettleError{Failed: []broker.Failed{{Err: broker.ErrTooLarge}}}, "too_large"},
		{&broker.PublishError{}, "*broker.PublishError"},
		{&broker.FieldError{}, "*broker.FieldError"},
		{context.Canceled, "canceled"},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), "deadline_exceeded"},
		{fmt.Errorf("x: %w", namedError("card_declined")), "card_declined"},
		{namedError(""), "github.com/anyqueue/anyqueue/telemetry.namedError"},
	} {
		if got := ErrorType(c.err); got != c.want {
			t.Errorf("ErrorType(%v) = %q, want %q", c.err, got, c.want)
		}
	}
}

// A name that an error gives itself is clipped without breaking a character.
func TestErrorTypeIsShort(t *testing.T) {
	got := ErrorType(namedError(strings.Repeat("é", maxErrorType)))
	if len(got) > maxErrorType || !utf8.ValidString(got) {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}
