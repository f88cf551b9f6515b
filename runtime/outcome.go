package runtime

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// Outcome is an error that says what is to become of the message instead of
// leaving it to the policy. It survives wrapping: the runtime finds it with
// errors.As. Make one with [RetryAfter], [DeadLetter], [Drop] or [Release].
type Outcome struct {
	// Action is what was asked for. Ack stands for Drop.
	Action broker.Action
	// After is the delay of RetryAfter and Release.
	After time.Duration
	// Err is why; never nil.
	Err error
}

func (o *Outcome) Error() string {
	switch {
	case o.Action == broker.Ack:
		return "drop: " + o.Err.Error()
	case o.After > 0:
		return fmt.Sprintf("%s after %s: %s", o.Action, o.After, o.Err)
	default:
		return o.Action.String() + ": " + o.Err.Error()
	}
}

// Unwrap returns the reason.
func (o *Outcome) Unwrap() error { return o.Err }

// RetryAfter fails the attempt and asks for the next one after d instead of the
// policy's backoff: a Retry-After header, for example. A d beyond what the broker
// can delay, or the lease allows, is cut to that. It spends
// an attempt: when the budget is empty the message is dead-lettered. A negative
// d means 0.
func RetryAfter(d time.Duration, err error) error {
	return &Outcome{Action: broker.Retry, After: max(d, 0), Err: orReason(err, "retry asked for by the handler")}
}

// DeadLetter sends the message to the dead-letter queue now, whatever is left
// of its budget. Wrap err with a class of package failure to classify it.
func DeadLetter(err error) error {
	return &Outcome{Action: broker.DeadLetter, Err: orReason(err, "dead-lettered by the handler")}
}

// Drop acknowledges the message without having done its work, and counts it as
// dropped; the reason is logged at level info. It is the right answer for what is known to be
// obsolete; a failure belongs in the dead letters.
func Drop(reason string) error {
	return &Outcome{Action: broker.Ack, Err: orReason(nil, reason)}
}

// Release gives the message back after d, at least 100 ms, without spending an
// attempt: a busy lock, an open circuit breaker, a schema that this version does not know yet.
// It is not a failure. Where the broker cannot express that, Capabilities and
// the table of guarantees say so.
func Release(d time.Duration, reason string) error {
	return &Outcome{Action: broker.Release, After: max(d, 0), Err: orReason(nil, reason)}
}

func orReason(err error, reason string) error {
	if err != nil {
		return err
	}
	if reason == "" {
		reason = "no reason given"
	}
	return errors.New(reason)
}

// BatchError is a batch handler's answer when some items failed: index to
// error. Items that it does not name succeeded. An [Outcome] may stand as an
// item's error. End with return failed.Err(); a nil *BatchError that is returned
// as it is counts as success.
type BatchError struct {
	Items map[int]error
}

func (e *BatchError) Error() string {
	if e == nil || len(e.Items) == 0 {
		return "batch: no item failed"
	}
	first := slices.Min(slices.Collect(maps.Keys(e.Items)))
	return fmt.Sprintf("batch: %d failed; #%d: %v", len(e.Items), first, e.Items[first])
}

// Fail names a failed item. It returns e, and makes one when e is nil:
//
//	var failed *runtime.BatchError
//	for i, d := range batch {
//		if err := work(d); err != nil {
//			failed = failed.Fail(i, err)
//		}
//	}
//	return failed.Err()
func (e *BatchError) Fail(index int, err error) *BatchError {
	if err == nil {
		return e
	}
	if e == nil {
		e = &BatchError{}
	}
	if e.Items == nil {
		e.Items = make(map[int]error)
	}
	e.Items[index] = err
	return e
}

// Err returns e as an error, nil when nothing failed.
func (e *BatchError) Err() error {
	if e == nil || len(e.Items) == 0 {
		return nil
	}
	return e
}
