package rabbit

import (
	"context"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
)

// Driver opens RabbitMQ queues for package config, from its section `rabbitmq:`.
var Driver = broker.NewDriver("rabbitmq", func() *Settings { return &Settings{} },
	func(ctx context.Context, s *Settings, queue string, in broker.Intent) (*broker.Endpoint, error) {
		return Open(ctx, *s, queue, in)
	})

// Open connects, declares what s.Topology says, and consumes a queue. It is what
// [Driver] does, for programs without a configuration file.
//
// What time may heal (no answer, connection refused, an unknown host) is tried
// until s.ConnectTimeout or the end of ctx, and then returned with the last cause.
// Wrong credentials, a missing vhost or permission, and a queue that exists with
// other arguments are returned at once. After Open has succeeded the endpoint
// reconnects for ever.
func Open(ctx context.Context, s Settings, queue string, in broker.Intent) (*broker.Endpoint, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	s = s.withDefaults()
	top, err := newTopology(&s, queue, in)
	if err != nil {
		return nil, err
	}
	d, err := newDialer(&s)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	out, err := openOutbox(ctx, "publish for "+queue, d, &s)
	if err != nil {
		return nil, err
	}
	sub := newSubscription(&s, planOf(&s, top, in), windowOf(&s, in), d, out)
	// One bound for both; the server answers by now, so that a second is enough.
	if err := sub.start(ctx, max(s.ConnectTimeout-time.Since(began), time.Second)); err != nil {
		return nil, err
	}
	return &broker.Endpoint{
		Subscription: sub,
		Publisher:    &Publisher{out: out.share()},
		Queue:        queue,
		DeadLetter:   top.deadLetter,
		OpenDeadLetters: func(ctx context.Context) (broker.Subscription, error) {
			return openDeadLetters(ctx, &s, top, d)
		},
	}, nil
}

// Capabilities says what the subscription of an [Open] with the same arguments can
// do. It needs no server.
func Capabilities(s Settings, queue string, in broker.Intent) (broker.Capabilities, error) {
	if err := s.Validate(); err != nil {
		return broker.Capabilities{}, err
	}
	s = s.withDefaults()
	top, err := newTopology(&s, queue, in)
	if err != nil {
		return broker.Capabilities{}, err
	}
	d, err := newDialer(&s)
	if err != nil {
		return broker.Capabilities{}, err
	}
	return newSubscription(&s, planOf(&s, top, in), windowOf(&s, in), d, nil).Capabilities(), nil
}

// planOf says how the work queue is consumed.
func planOf(s *Settings, top *topology, in broker.Intent) plan {
	p := plan{topology: top, queue: top.queue, ackTimeout: max(s.AckTimeout, 0)}
	switch {
	case in.Ordered:
		p.attempts = deliveriesAreAttempts
	case s.QueueType == Classic:
		p.attempts = deliveriesAreUnknown
	}
	return p
}

// windowOf says how much the broker may push.
func windowOf(s *Settings, in broker.Intent) window {
	w := newWindow(s.Prefetch, in)
	if in.Ordered && w.fixed == 0 {
		// Another window needs another consumer, and the order of keys needs that it
		// stays the active one. Each restart counts as a delivery of all that was pushed,
		// so that it is no larger than what the runtime takes.
		w.fixed = min(max(in.MaxInFlight, 1), mostHigh)
	}
	return w
}

// mostBrowsed bounds what a reader of dead letters holds: who goes through all of
// them keeps what he has seen until he is done, because what is given back comes
// again. It is the most that AMQP can say.
const mostBrowsed = 65535

// openDeadLetters consumes the dead-letter queue. What is read and not
// acknowledged stays there, in its place.
func openDeadLetters(ctx context.Context, s *Settings, top *topology, d *dialer) (broker.Subscription, error) {
	out, err := openOutbox(ctx, "publish for "+top.deadLetter, d, s)
	if err != nil {
		return nil, err
	}
	p := plan{
		topology: top.forDeadLetters(), queue: top.deadLetter, dead: true,
		ackTimeout: max(s.AckTimeout, 0), attempts: deliveriesAreUnknown,
	}
	sub := newSubscription(s, p, window{parked: true, high: mostBrowsed}, d, out)
	if err := sub.start(ctx, s.ConnectTimeout); err != nil {
		return nil, err
	}
	return sub, nil
}

func newSubscription(s *Settings, p plan, w window, d *dialer, out *outbox) *Subscription {
	caps := capabilities(s, p)
	caps.Server = d.server()
	return &Subscription{
		plan: p, caps: caps, window: w, out: out,
		link: newLink("consume "+p.queue, d, s.Logger),
	}
}

// Bounds of a call of Settle. Its acknowledgements cost a frame for each run of
// tags, so that a batch pays; copies are confirmed together.
const (
	maxSettle    = 500
	settleCalls  = 4
	settleLinger = 5 * time.Millisecond
)

func capabilities(s *Settings, p plan) broker.Capabilities {
	ordered := p.attempts == deliveriesAreAttempts
	c := broker.Capabilities{
		Broker: "rabbitmq",
		System: "rabbitmq",
		Source: p.queue,

		Lease: p.ackTimeout,

		KeyOrder:        ordered,
		Keys:            true,
		CarriesAttempts: !ordered,
		CarriesFailure:  !ordered,
		CountsAbandoned: p.attempts == deliveriesAreCrashes,
		ReleaseIsFree:   !ordered,
		DeadLetters:     p.topology.deadLetter != "" && !p.dead,

		MaxMessageBytes: s.MaxMessageBytes,
		MaxSettle:       settleBatch(s),
		MaxExtend:       1,
		SettleCalls:     settleCalls,
		SettleLinger:    settleLinger,

		AgeFrom:    "publication, from a property of the message",
		Duplicates: "when the connection fails after a settlement was sent and before the broker has read it",
	}
	if s.QueueType == Quorum && !p.dead {
		c.DeliveryLimit = s.DeliveryLimit + 1 // the limit counts what comes after the first delivery
	}
	if n := len(p.topology.rungs); n > 0 {
		c.MaxDelay = p.topology.rungs[n-1].delay
	}
	return c
}

// settleBatch is how many settlements are worth waiting for: no more than half of
// a prefetch that is fixed, or the server, too, would wait.
func settleBatch(s *Settings) int {
	if s.Prefetch > 0 {
		return min(maxSettle, max(1, s.Prefetch/2))
	}
	return maxSettle
}

// keyOf is the ordering key of a delivery, without decoding the
// rest.
func keyOf(d *amqp.Delivery) string {
	key, _ := text(d.Headers[headerKey])
	return key
}
