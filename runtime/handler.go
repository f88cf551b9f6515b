package runtime

import (
	"context"

	"github.com/anyqueue/anyqueue/broker"
)

// Handler does the work of one message. A nil error acknowledges it; any other
// error is classified and retried or dead-lettered by policy, unless it holds an
// [Outcome] that says exactly what to do.
//
// ctx is cancelled when the attempt's time is over ([Options].Timeout), when the
// lease is lost ([broker.ErrLeaseLost] is its cause) and when shutdown ran out
// of patience ([ErrShutdown]). It is also cancelled once the handler has
// returned. A handler that goes on after cancellation keeps its slot.
//
// Handlers run concurrently, up to [Options].Concurrency at once. A panic is a
// failure of class bug, with its stack; it harms no other message. d is valid
// beyond the handler's return.
type Handler func(ctx context.Context, d *broker.Delivery) error

// BatchHandler does the work of several messages at once. A nil error
// acknowledges all; a [*BatchError], wrapped or not, names the items that failed
// and acknowledges the others; any other error fails all of them, and so does a
// BatchError that is joined with another error or names an item that is not
// there.
//
// With [OrderKey], messages of one key stand in their order, and what follows a
// failed item of its key is not acknowledged, whatever the error says of it: it
// runs again after the failed one, with no attempt spent.
//
// ctx is cancelled as for [Handler], when any item's lease is lost.
type BatchHandler func(ctx context.Context, batch []*broker.Delivery) error

// Middleware wraps a handler. The first in a list is the outermost. Those of
// package middleware are made by their constructors; a one-line wrapper of your
// own is
//
//	runtime.Middleware{Name: "audit", Wrap: func(next runtime.Handler) runtime.Handler {
//		return func(ctx context.Context, d *broker.Delivery) error { ...; return next(ctx, d) }
//	}}
//
// The chain is built once per consumer.
type Middleware struct {
	// Name appears in Explain and in errors; required.
	Name string
	// Wrap returns the wrapped handler; required.
	Wrap func(next Handler) Handler
	// Unique says that it may stand in a chain once only.
	Unique bool
	// Err is a fault in the middleware's own options, as joined
	// [*broker.FieldError]. [New] reports it with all other faults, so that
	// constructors need no second result.
	Err error
}
