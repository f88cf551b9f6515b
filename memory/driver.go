package memory

import (
	"context"
	"errors"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// Settings is the section `memory:` of a configuration file. Zero values mean
// the defaults of [Queue] and [Options].
type Settings struct {
	// Those of [Queue].
	Lease           time.Duration `yaml:"lease" default:"30s" negative:"no deadline; needs session_leases" doc:"How long a delivery is leased before the message becomes visible again."`
	MaxLease        time.Duration `yaml:"max_lease" doc:"The longest that a delivery can be held, extensions included. 0: no limit."`
	DeadLetter      string        `yaml:"dead_letter" doc:"Name of the dead-letter queue. Default: the queue's name with .dlq appended."`
	DeliveryLimit   int           `yaml:"delivery_limit" min:"0" doc:"How often a message is delivered at most before the broker dead-letters it as a crash; above retry.max_attempts and max_abandoned together. 0: no limit."`
	MaxMessages     int           `yaml:"max_messages" min:"0" doc:"The most messages that the queue holds. 0: no limit."`
	MaxMessageBytes int           `yaml:"max_message_bytes" default:"16MiB" negative:"no limit" doc:"The largest message."`
	MaxDelay        time.Duration `yaml:"max_delay" default:"365d" doc:"The longest delay of a retry through the broker."`

	// MaxBytes is that of [Options].
	MaxBytes int `yaml:"max_bytes" default:"1GiB" negative:"no limit" doc:"The most memory that all messages may take."`
	// SessionLeases is that of [SubscribeOptions].
	SessionLeases bool `yaml:"session_leases" doc:"Leases end with the subscription, as on RabbitMQ, instead of running on, as on SQS."`
}

// Validate reports every fault at once, as joined [*broker.FieldError].
func (s *Settings) Validate() error {
	const name = "any" // the queue's name is not among the settings
	q := s.queue(name)
	return errors.Join(q.Validate(), s.subscribe().validate(q))
}

func (s *Settings) queue(name string) Queue {
	return Queue{
		Name:            name,
		Lease:           s.Lease,
		MaxLease:        s.MaxLease,
		DeadLetter:      s.DeadLetter,
		DeliveryLimit:   s.DeliveryLimit,
		MaxMessages:     s.MaxMessages,
		MaxMessageBytes: s.MaxMessageBytes,
		MaxDelay:        s.MaxDelay,
	}
}

func (s *Settings) subscribe() SubscribeOptions {
	return SubscribeOptions{SessionLeases: s.SessionLeases}
}

// Driver opens in-memory queues for package config. Every Open makes a broker of
// its own, so the endpoint's publisher is the only way to its queue from outside;
// a program that needs the [Broker] finds it with [Subscription.Broker].
var Driver = broker.NewDriver("memory", func() *Settings { return &Settings{} }, open)

func open(ctx context.Context, s *Settings, queue string, _ broker.Intent) (*broker.Endpoint, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b := New(Options{MaxBytes: s.MaxBytes})
	q := s.queue(queue)
	if err := b.Declare(q); err != nil {
		return nil, err
	}
	sub, err := b.Subscribe(queue, s.subscribe())
	if err != nil {
		return nil, err
	}
	dead := q.withDefaults().DeadLetter
	return &broker.Endpoint{
		Subscription: sub,
		Publisher:    b.Publisher(),
		Queue:        queue,
		DeadLetter:   dead,
		OpenDeadLetters: func(context.Context) (broker.Subscription, error) {
			return b.Subscribe(dead, SubscribeOptions{})
		},
	}, nil
}
