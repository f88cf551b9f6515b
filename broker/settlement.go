package broker

import (
	"time"

	"github.com/anyqueue/anyqueue/failure"
)

// Action is what is to become of a delivery.
type Action uint8

// The four ways to settle a delivery.
const (
	// Ack removes the message: it is done.
	Ack Action = iota + 1
	// Retry delivers it again after a delay; an attempt has been spent.
	Retry
	// DeadLetter moves it to the dead-letter queue with its failure record.
	DeadLetter
	// Release gives it back without spending an attempt, where the broker can
	// express that (see Capabilities.ReleaseIsFree).
	Release
)

// String returns the name used in metrics and logs.
func (a Action) String() string {
	switch a {
	case Ack:
		return "ack"
	case Retry:
		return "retry"
	case DeadLetter:
		return "dead_letter"
	case Release:
		return "release"
	default:
		return "invalid"
	}
}

// Settlement is one delivery's outcome. The runtime decides it; the adapter
// carries it out with the means of its broker, and returns only when the
// message is safe: removed, or confirmed by the place that it was moved to.
type Settlement struct {
	Delivery *Delivery
	Action   Action
	// After delays the next delivery: Retry and Release. 0 means at once. The
	// runtime keeps it within Capabilities.MaxDelay, and beyond it the settlement
	// fails with ErrUnsupported and the message stays leased. An adapter rounds up to
	// what it can express, never down.
	After time.Duration
	// Attempt is what the next delivery's Attempt shall be: Retry and Release. It
	// can be more than Delivery.Attempt + 1 after retries inside the process. An
	// adapter without CarriesAttempts ignores it. 0 stands for one more than the
	// delivery's with Retry, and for the delivery's own with Release.
	Attempt int
	// Failure is the record to write: always with DeadLetter; with Retry and
	// Release what is known so far. Nil leaves the record that the message has.
	Failure *failure.Record
}
