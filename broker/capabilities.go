package broker

import "time"

// Capabilities says as data what a subscription can do. The runtime, Explain,
// the conformance suite and the README's table of guarantees read it; nothing
// switches on the kind of broker.
type Capabilities struct {
	// Broker is the adapter's name in configuration and messages: "memory",
	// "rabbitmq", "sqs", "kafka".
	Broker string
	// System is OpenTelemetry's messaging.system: "anyqueue_memory", "rabbitmq",
	// "aws_sqs", "kafka".
	System string
	// Source is the queue or topic that is consumed, as in Delivery.Source.
	Source string
	// Server is where the broker is reached: server.address and server.port of spans
	// and metrics. Zero for a broker in this process.
	Server Server

	// Lease is how long a fresh delivery is leased; 0 when a lease has no deadline
	// of its own.
	Lease time.Duration
	// Extends says whether Extend works. Where it does not, and Lease is not 0,
	// the runtime ends a handler before its lease does.
	Extends bool
	// MaxLease is the longest that one delivery can be held in all, extensions
	// included; 0 for no limit.
	MaxLease time.Duration

	// KeyOrder says that the broker keeps the order of a key across consumers: while
	// a message of a key is leased or delayed, later ones of that key are delivered
	// to nobody, or only to the consumer that holds it, in their order.
	KeyOrder bool
	// Keys says that the broker carries Message.Key at all.
	Keys bool

	// CarriesAttempts says that Settlement.Attempt reaches the next delivery.
	// Where it is false, Delivery.Attempt counts deliveries instead.
	CarriesAttempts bool
	// CarriesFailure says that Settlement.Failure reaches the next delivery after
	// a Retry.
	CarriesFailure bool
	// CountsAbandoned says that Delivery.Abandoned is kept.
	CountsAbandoned bool
	// ReleaseIsFree says that a Release spends no attempt.
	ReleaseIsFree bool

	// MaxDelay is the longest Settlement.After; 0 when the broker cannot delay, so
	// that every delay has to be held by the runtime.
	MaxDelay time.Duration
	// DelayKeepsOrder says that a delayed message holds back later messages of its
	// key, so that a Retry through the broker keeps the order of keys.
	DelayKeepsOrder bool

	// DeadLetters says that there is a place for dead letters.
	DeadLetters bool
	// DeliveryLimit is the broker's own limit of deliveries per message, a safety
	// net that must lie above the retry budget; 0 for none.
	DeliveryLimit int

	// MaxMessageBytes is the largest message that the broker takes; 0 when
	// unknown.
	MaxMessageBytes int
	// MaxSettle and MaxExtend are the largest batches that one call takes; at
	// least 1.
	MaxSettle int
	MaxExtend int
	// SettleCalls is how many calls of Settle may be under way at once; 0 means 1.
	// More than one helps where a settlement is a round trip (SQS).
	SettleCalls int
	// SettleLinger is how long a settlement may wait for others so that a batch is
	// filled; 0 where an exchange is cheap. A batch that is full, a lease about to
	// end, a shutdown, and a batch that nothing under way can join never wait.
	SettleLinger time.Duration

	// AgeFrom says in a few words where PublishedAt comes from on this broker, for
	// the table of guarantees.
	AgeFrom string
	// Duplicates says in a few words when this broker delivers a message twice
	// although it was settled, for the table of guarantees.
	Duplicates string
}
