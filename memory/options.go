package memory

import (
	"errors"
	"fmt"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// Defaults of [Options] and [Queue].
const (
	// DefaultMaxBytes bounds what all queues of a broker hold together.
	DefaultMaxBytes = 1 << 30
	// DefaultLease is how long a delivery is leased.
	DefaultLease = 30 * time.Second
	// DefaultMaxMessageBytes is the largest message of a queue.
	DefaultMaxMessageBytes = 16 << 20
	// DefaultMaxDelay is the longest delay of a queue: a year, so that no delay
	// that anybody means is refused.
	DefaultMaxDelay = 365 * 24 * time.Hour
	// DefaultMaxBatch is the most settlements, and the most extensions, of a call.
	DefaultMaxBatch = 1000
)

// Options configures a [Broker]. The zero value is usable.
type Options struct {
	// MaxBytes bounds what all queues hold together, so that a consumer that stands
	// still does not take the process down: the [broker.Message.Size] of each
	// message and 320 bytes for keeping it. Default 1 GiB; negative: no limit. A
	// publish beyond it fails with [broker.ErrFull].
	MaxBytes int
}

// Queue says how a queue behaves. Only Name is required.
type Queue struct {
	// Name is the queue's name, unique within its broker.
	Name string

	// Lease is how long a delivery is leased before the message becomes visible
	// again. Default 30 s. Negative: a lease has no deadline, as on RabbitMQ, and
	// ends with its session; every subscription then needs
	// [SubscribeOptions].SessionLeases.
	Lease time.Duration
	// MaxLease is the longest that one delivery can be held in all, extensions
	// included, from its receipt. 0, the default: no limit; otherwise at least
	// Lease. An extension beyond it fails with [*MaxLeaseError] and the lease keeps
	// its deadline.
	MaxLease time.Duration

	// DeadLetter names the queue that dead letters move to. Default: Name with
	// ".dlq" appended. A queue of that name that does not exist is declared with
	// the limits of this one, without a dead-letter queue of its own and without
	// the order of keys, so that a tool can look at many dead letters of one key.
	// Declare it before this one to have it otherwise.
	DeadLetter string
	// DeliveryLimit is how often a message is delivered at most, whatever ended
	// those deliveries: retries, releases, lost leases. When it is spent and the
	// last delivery has ended without ack or dead letter, the broker moves the
	// message to the dead-letter queue with a record of class crash. 0, the
	// default: no limit. It is a safety net: set it well above the consumer's
	// MaxAttempts. Where the dead-letter queue is missing or full the message is
	// kept and delivered again: nothing is lost.
	DeliveryLimit int

	// MaxMessages and MaxBytes bound what the queue holds, messages in flight
	// included. 0, the default: no limit of its own. A publish beyond it fails with
	// [broker.ErrFull]; so does a dead letter, which then stays where it was. A
	// message larger than MaxBytes fails with [broker.ErrTooLarge].
	MaxMessages int
	MaxBytes    int
	// MaxMessageBytes is the largest message, as [broker.Message.Size] counts.
	// Default 16 MiB; negative: no limit. A larger one fails with
	// [broker.ErrTooLarge].
	MaxMessageBytes int
	// MaxDelay is the longest Settlement.After. Default 365 days. A longer one
	// fails with [broker.ErrUnsupported].
	MaxDelay time.Duration

	// Without takes abilities away, so that a test meets the limits of other
	// brokers.
	Without Without
}

// Without takes abilities away from a queue. What it takes is gone from
// [broker.Capabilities] and from the queue's behaviour alike.
type Without struct {
	// Extend: Extend returns broker.ErrUnsupported, as on RabbitMQ.
	Extend bool
	// KeyOrder: keys are carried, but messages of one key are handed out
	// concurrently, as to several consumers of one RabbitMQ queue.
	KeyOrder bool
	// Keys: Message.Key does not reach the consumer, and there is no key order.
	Keys bool
	// Delay: a Retry or Release with After fails with broker.ErrUnsupported.
	Delay bool
	// Attempts: Delivery.Attempt counts deliveries, as SQS's receive count does; so
	// a Release is not free.
	Attempts bool
	// Failure: the record of a Retry or Release does not reach the next delivery.
	// Dead letters carry theirs all the same.
	Failure bool
	// Abandoned: Delivery.Abandoned is always 0.
	Abandoned bool
	// FreeRelease: a Release spends an attempt.
	FreeRelease bool
	// DeadLetters: there is no dead-letter queue, and a DeadLetter settlement fails
	// with broker.ErrUnsupported.
	DeadLetters bool
}

func (q Queue) withDefaults() Queue {
	if q.Lease == 0 {
		q.Lease = DefaultLease
	}
	if q.MaxMessageBytes == 0 {
		q.MaxMessageBytes = DefaultMaxMessageBytes
	}
	if q.MaxDelay == 0 {
		q.MaxDelay = DefaultMaxDelay
	}
	if q.DeadLetter == "" && !q.Without.DeadLetters {
		q.DeadLetter = q.Name + ".dlq"
	}
	q.Without.KeyOrder = q.Without.KeyOrder || q.Without.Keys
	q.Without.FreeRelease = q.Without.FreeRelease || q.Without.Attempts
	return q
}

// Validate reports every fault at once, as joined [*broker.FieldError].
// [Broker.Declare] calls it.
func (q Queue) Validate() error {
	var faults []error
	fault := func(field string, value any, format string, args ...any) {
		faults = append(faults, &broker.FieldError{Field: field, Value: value, Problem: fmt.Sprintf(format, args...)})
	}
	if q.Name == "" {
		fault("Name", nil, "is empty; give the queue a name")
	}
	lease := q.withDefaults().Lease
	switch {
	case q.MaxLease < 0:
		fault("MaxLease", q.MaxLease, "must not be negative; leave it 0 for no limit")
	case q.MaxLease > 0 && lease < 0:
		fault("MaxLease", q.MaxLease, "cannot limit leases that have no deadline; leave it 0, or set Lease")
	case q.MaxLease > 0 && q.MaxLease < lease:
		fault("MaxLease", q.MaxLease, "must be at least Lease, %s; raise it, or leave it 0 for no limit", lease)
	}
	if q.DeadLetter != "" && q.DeadLetter == q.Name {
		fault("DeadLetter", q.DeadLetter, "must be another queue than this one; leave it empty for %q", q.Name+".dlq")
	}
	if q.DeadLetter != "" && q.Without.DeadLetters {
		fault("DeadLetter", q.DeadLetter, "contradicts Without.DeadLetters; set one of them only")
	}
	for _, n := range []struct {
		field string
		value int
	}{{"DeliveryLimit", q.DeliveryLimit}, {"MaxMessages", q.MaxMessages}, {"MaxBytes", q.MaxBytes}} {
		if n.value < 0 {
			fault(n.field, n.value, "must not be negative; leave it 0 for no limit")
		}
	}
	if q.MaxDelay < 0 {
		fault("MaxDelay", q.MaxDelay, "must not be negative; leave it 0 for %s, or set Without.Delay", DefaultMaxDelay)
	}
	return errors.Join(faults...)
}

// SubscribeOptions configures a [Subscription]. The zero value is usable.
type SubscribeOptions struct {
	// SessionLeases ties leases to the subscription, as RabbitMQ ties deliveries
	// to a channel: deliveries carry a [broker.Session], and when the connection
	// drops or the subscription is closed, those not settled become visible again
	// at once. Default: leases belong to the queue, as on SQS, and run on until
	// they end by themselves.
	SessionLeases bool
	// MaxSettle and MaxExtend are the most settlements and extensions of one
	// call. Default 1000; at least 1. SQS takes 10.
	MaxSettle int
	MaxExtend int
	// SettleCalls is announced in the capabilities: how many calls of Settle the
	// runtime may make at once. Default 0, which means 1; this broker minds none.
	SettleCalls int
	// SettleLinger is announced in the capabilities: how long the runtime lets a
	// settlement wait for others. Default 0, an exchange with this broker is cheap.
	SettleLinger time.Duration
}

func (o SubscribeOptions) withDefaults() SubscribeOptions {
	if o.MaxSettle == 0 {
		o.MaxSettle = DefaultMaxBatch
	}
	if o.MaxExtend == 0 {
		o.MaxExtend = DefaultMaxBatch
	}
	return o
}

func (o SubscribeOptions) validate(q Queue) error {
	var faults []error
	for _, n := range []struct {
		field string
		value int
	}{{"MaxSettle", o.MaxSettle}, {"MaxExtend", o.MaxExtend}} {
		if n.value < 0 {
			faults = append(faults, &broker.FieldError{
				Field: n.field, Value: n.value,
				Problem: fmt.Sprintf("must be at least 1; leave it 0 for the default of %d", DefaultMaxBatch),
			})
		}
	}
	if o.SettleCalls < 0 {
		faults = append(faults, &broker.FieldError{
			Field: "SettleCalls", Value: o.SettleCalls, Problem: "must not be negative; leave it 0 for 1",
		})
	}
	if o.SettleLinger < 0 {
		faults = append(faults, &broker.FieldError{
			Field: "SettleLinger", Value: o.SettleLinger, Problem: "must not be negative; leave it 0 for no linger",
		})
	}
	if q.Lease < 0 && !o.SessionLeases {
		faults = append(faults, &broker.FieldError{
			Field: "SessionLeases", Value: false,
			Problem: fmt.Sprintf("must be true: leases of queue %q have no deadline, and without a session to end them "+
				"a message whose consumer died would never come back", q.Name),
		})
	}
	return errors.Join(faults...)
}
