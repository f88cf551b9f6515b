package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// Codec decodes data into v, a pointer: json.Unmarshal is one. It is safe for
// concurrent use.
type Codec func(data []byte, v any) error

// errEmptyBody is the failure of a message without a body where one is needed.
var errEmptyBody = errors.New("the body is empty")

// JSON returns a handler that decodes the body from JSON into a T. A body that
// does not decode is a failure of class format: it is dead-lettered at once, and
// h never sees it. Unknown fields are ignored, so that a publisher may add some.
func JSON[T any](h func(ctx context.Context, v T, d *broker.Delivery) error) Handler {
	return Typed(unmarshalJSON, h)
}

func unmarshalJSON(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		wrong.Value, _, _ = strings.Cut(wrong.Value, " ") // "number 4111...": a body is not to be quoted
	}
	return err
}

// Typed is [JSON] with a codec of your choice.
func Typed[T any](codec Codec, h func(ctx context.Context, v T, d *broker.Delivery) error) Handler {
	if h == nil || codec == nil {
		return nil // New says so
	}
	return func(ctx context.Context, d *broker.Delivery) error {
		var v T
		if len(d.Body) == 0 {
			return failure.Format(fmt.Errorf("decode %T: %w", v, errEmptyBody))
		}
		if err := codec(d.Body, &v); err != nil {
			return failure.Format(fmt.Errorf("decode %T: %w", v, err))
		}
		return h(ctx, v, d)
	}
}
