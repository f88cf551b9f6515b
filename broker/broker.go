package broker

import (
	"context"
	"encoding/json"
	"time"
)

// Credit is how much a Receive may return.
type Credit struct {
	// Messages is the most messages to return; at least 1.
	Messages int
	// Bytes is the most bytes to return, counted with [Message.Size]; at least 1.
	// It is no reason to return nothing: the first message may exceed it. An
	// adapter that cannot stop within a broker's response (SQS) may exceed it by
	// the rest of that response.
	Bytes int
}

// Subscription consumes one queue.
type Subscription interface {
	// Receive blocks until at least one message is leased to the caller, and
	// returns at most what credit allows. One goroutine calls it at a time, while
	// others call Settle, Extend and Stats.
	//
	// When ctx ends, Receive returns soon: with ctx's error, or with deliveries
	// and no error if some were already leased. It never returns both. It never
	// abandons a lease silently: what arrived too late to be returned is released
	// by the adapter, at the latest in Close.
	//
	// An error that matches [ErrClosed], [ErrNotFound], [ErrAccessDenied] or
	// [ErrUnsupported] is final ([FinalReceive]). Every other error is temporary: the adapter
	// reconnects by itself, and the caller pauses and calls again. While the broker
	// cannot be reached, Receive returns [ErrDisconnected] within 5 s instead of
	// blocking, so that the caller can tell an idle queue from a lost broker.
	//
	// The returned slice and its messages belong to the caller.
	Receive(ctx context.Context, credit Credit) ([]Delivery, error)

	// Settle carries out the settlements in order and returns when all of them
	// are safe. At most Capabilities.MaxSettle are passed at once, each delivery
	// once. At most Capabilities.SettleCalls goroutines call it at the same time;
	// settlements whose order matters are passed in one call.
	//
	// A nil error means all succeeded. A [*SettleError] names those that failed,
	// and all others succeeded; any other error means that all failed. One that
	// matches [ErrLeaseLost] is final for that delivery: nothing was done, and it
	// will be delivered again. [ErrUnsupported] and [ErrTooLarge] are final too
	// ([FinalSettle]): the same settlement will never succeed. Every other failure leaves the
	// message leased as it was and may be tried again.
	Settle(ctx context.Context, settlements []Settlement) error

	// Extend makes the leases of the deliveries run until at least now + by, now
	// being the time of the call. At most Capabilities.MaxExtend are passed at
	// once. It is called from one goroutine, at the same time as others call
	// Receive and Settle; a delivery that was settled meanwhile is no error.
	//
	// Errors are those of Settle; an extension beyond Capabilities.MaxLease fails with
	// [ErrUnsupported] and the lease keeps its deadline. Where Capabilities.Extends is false it returns
	// [ErrUnsupported].
	Extend(ctx context.Context, deliveries []*Delivery, by time.Duration) error

	// Stats asks the broker what the queue looks like. What the broker does not
	// tell is unknown, never 0.
	Stats(ctx context.Context) (Stats, error)

	// Capabilities says what this subscription can do. It does not change, and
	// needs no connection.
	Capabilities() Capabilities

	// Close gives back what was received and never returned, and frees the
	// connection. Deliveries that are still leased keep their lease until it ends
	// by itself, or with the session. It is called once, after the last Receive
	// and Settle; when ctx ends first it stops waiting for the broker.
	Close(ctx context.Context) error
}

// Publisher publishes messages. Its methods are safe for concurrent use.
type Publisher interface {
	// Publish sends the messages to a queue or topic and returns when the broker
	// confirmed that they are safe. Each message is given an ID and a time with
	// [Prepare].
	//
	// A nil error means all are safe. A [*PublishError] names those that are not,
	// and all others are; any other error means that none is known to be safe. A
	// message that failed may have been stored all the same (its confirmation was
	// lost): publish it again with the same ID and let consumers dedupe. Final
	// faults match [ErrTooLarge], [ErrNotFound], [ErrAccessDenied] or [ErrInvalid].
	Publish(ctx context.Context, to string, messages ...*Message) error
	// Close waits for confirmations under way, until ctx ends, and frees the
	// connection.
	Close(ctx context.Context) error
}

// Value is a number that may be unknown. The zero Value is unknown.
type Value[T int64 | time.Duration] struct {
	v     T
	known bool
}

// Known returns a known value.
func Known[T int64 | time.Duration](v T) Value[T] { return Value[T]{v, true} }

// Get returns the value and whether it is known.
func (v Value[T]) Get() (T, bool) { return v.v, v.known }

// MarshalJSON writes the number, or null when it is unknown.
func (v Value[T]) MarshalJSON() ([]byte, error) {
	if !v.known {
		return []byte("null"), nil
	}
	return json.Marshal(v.v)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (v *Value[T]) UnmarshalJSON(b []byte) error {
	*v = Value[T]{}
	if string(b) == "null" {
		return nil
	}
	if err := json.Unmarshal(b, &v.v); err != nil {
		return err
	}
	v.known = true
	return nil
}

// Stats is what the broker says of a queue at one moment. Brokers count
// approximately; a value the broker does not tell is unknown.
type Stats struct {
	// Ready messages could be delivered now.
	Ready Value[int64] `json:"ready"`
	// InFlight messages are leased to some consumer.
	InFlight Value[int64] `json:"in_flight"`
	// Delayed messages become ready later: when their time has come, or when an
	// earlier message of their key is done.
	Delayed Value[int64] `json:"delayed"`
	// OldestAge is how long ago the oldest message that is not yet settled was
	// first published, in nanoseconds when encoded.
	OldestAge Value[time.Duration] `json:"oldest_age_ns"`
	// DeadLetters is the depth of the dead-letter queue.
	DeadLetters Value[int64] `json:"dead_letters"`
}
