package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// namedError names its own type.
type namedError string

func (e namedError) Error() string     { return "named" }
func (e namedError) ErrorType() string { return string(e) }

// error.type says what went wrong: a type or a stable code, never a wrapper and
// never a text.
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
		{failure.Dependency(fmt.Errorf("pay: %w", dial)), "*net.OpError"},
		{errors.Join(errors.New("x"), dial), "*net.OpError"},
		{fmt.Errorf("x: %w", &json.SyntaxError{}), "*json.SyntaxError"},
		{fmt.Errorf("x: %w", namedError("card_declined")), "card_declined"},
		{broker.ErrLeaseLost, "lease_lost"},
		{fmt.Errorf("settle: %w", broker.ErrLeaseLost), "lease_lost"},
		{failure.Resource(fmt.Errorf("publish: %w: %w", errors.New("y"), broker.ErrFull)), "full"},
		{fmt.Errorf("publish: %w: %w", broker.ErrDisconnected, dial), "disconnected"},
		{context.Canceled, "canceled"},
		{&broker.SettleError{Failed: []broker.Failed{{Err: broker.ErrTooLarge}}}, "too_large"},
		{&broker.PublishError{Failed: []broker.Failed{{Err: fmt.Errorf("q: %w", broker.ErrFull)}}}, "full"},
		{&broker.PublishError{Failed: []broker.Failed{{Err: dial}}}, "*net.OpError"},
		{&broker.FieldError{}, "invalid"},
	} {
		if got := ErrorType(c.err); got != c.want {
			t.Errorf("ErrorType(%v) = %q, want %q", c.err, got, c.want)
		}
	}
}
