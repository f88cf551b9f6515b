package broker

import (
	"context"
	"time"
)

// Intent is what the consumer means to do, told to a driver before it opens the
// queue, so that topology and safety nets fit: the budget lies below the
// broker's delivery limit, a delay queue exists for every rung.
type Intent struct {
	// MaxAttempts is the retry budget.
	MaxAttempts int
	// MaxAbandoned is how many deliveries without a settlement are borne before a
	// message is dead-lettered as a crash.
	MaxAbandoned int
	// Delays are the delays that broker retries will ask for, ascending; empty
	// when they are not fixed.
	Delays []time.Duration
	// Ordered says that messages of one key must be handled in order.
	Ordered bool
	// MaxInFlight is the most messages that will be leased at once.
	MaxInFlight int
	// Concurrency is how many handlers run at once: an adapter that has messages
	// pushed to it asks for little more than they can take.
	Concurrency int
	// Timeout is the longest that a handler runs; 0 for no limit.
	Timeout time.Duration
}

// Endpoint is an opened queue: both directions of it.
type Endpoint struct {
	Subscription Subscription
	Publisher    Publisher
	// Queue is the name to publish to so that Subscription receives it.
	Queue string
	// DeadLetter is the name of the dead-letter queue, "" if there is none.
	DeadLetter string
	// OpenDeadLetters opens the dead-letter queue, to read what failed and why; each
	// call returns a subscription of its own, to be closed by the caller. Nil where
	// there is no dead-letter queue.
	OpenDeadLetters func(ctx context.Context) (Subscription, error)
}

// Driver opens a broker from settings in a configuration file. Adapters export
// one; package config takes them as arguments, so that a program links only the
// clients that it uses. Make one with [NewDriver].
type Driver struct {
	name string
	def  func() any
	open func(ctx context.Context, settings any, queue string, intent Intent) (*Endpoint, error)
}

// NewDriver makes a driver. The name is the value of `broker:` in the file and
// the name of the section that holds S. defaults returns settings as they are
// when the file says nothing; S has yaml tags, and may have a method
// Validate() error that reports every fault at once as joined [*FieldError].
// open connects, declares what it is told to declare, and checks the rest.
func NewDriver[S any](
	name string,
	defaults func() *S,
	open func(ctx context.Context, settings *S, queue string, intent Intent) (*Endpoint, error),
) Driver {
	return Driver{
		name: name,
		def:  func() any { return defaults() },
		open: func(ctx context.Context, settings any, queue string, intent Intent) (*Endpoint, error) {
			return open(ctx, settings.(*S), queue, intent)
		},
	}
}

// Name returns the driver's name.
func (d Driver) Name() string { return d.name }

// Settings returns a pointer to new settings with their defaults, to decode the
// section of the file into.
func (d Driver) Settings() any { return d.def() }

// Open opens the queue. settings is what Settings returned.
func (d Driver) Open(ctx context.Context, settings any, queue string, intent Intent) (*Endpoint, error) {
	return d.open(ctx, settings, queue, intent)
}
