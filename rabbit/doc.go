// Package rabbit is the adapter for RabbitMQ, from 3.10 to 4.x, over AMQP 0-9-1. It
// needs no plugin.
//
// A program names it in its configuration file (broker: rabbitmq, with [Driver] given
// to config.Load), or calls [Open]. [NewPublisher] is for programs that only publish.
// docs/rabbitmq.md is the page for operators: settings, tuning, what happens at each
// fault, permissions, migration.
//
// # What is declared
//
// For a queue "refunds", all durable, all quorum unless QueueType says otherwise:
//
//	           publish                                ack
//	              |                                    ^
//	 exchanges    v          push                      |
//	-----------> refunds ------------> handler --------+
//	(bindings)    ^  |                    |
//	              |  |                    | retry: copy, confirm, ack
//	TTL over:     |  |                    v
//	the server    +--|------------ refunds.retry.200
//	moves it      +--|------------ refunds.retry.400   one for each delay
//	              +--|------------ refunds.retry.1600
//	                 |                    | dead letter: copy, confirm, ack
//	                 v                    v
//	                 +-------------> refunds.dlq
//	       delivery limit: the server moves it
//
// One queue per delay, because a TTL of single messages blocks behind a longer one at
// the head. An ordered consumer has no delay queues: what goes round through another
// queue has lost its place.
//
// # Guarantees
//
// At least once. A publish returns when the server has confirmed the message and has
// not returned it as unroutable; messages are persistent. A retry, a dead letter and,
// on a quorum queue, a release are a copy that was confirmed in the same way, and then
// an ack of the original, so that a message is in one place at least at every moment.
// When the ack gets lost it is in two, with the same id.
//
// An ack is sent, and not answered: AMQP has no answer for it. Settle returns when the
// system has taken its bytes. What is lost on the way is delivered again.
//
// The attempt travels in a header. The server's own count of deliveries is kept apart
// as [broker.Delivery].Abandoned: evidence of crashes. Two kinds of consumers differ:
//
//   - Ordered (single active consumer): a message keeps its place, so that it cannot
//     be copied. What is released waits here, what is retried goes back with a nack,
//     and a nack can carry no header: the attempt is the server's count of
//     deliveries. A retry, a crash and the end of the worker spend one.
//   - Classic queues count nothing: a message that kills its worker comes back until
//     somebody takes it away.
//
// # Connections
//
// An endpoint has two connections: one consumes and acknowledges, the other publishes,
// for the program and for copies. A server with a memory or disk alarm stops reading
// from connections that publish, and acks must go on. Every connection is made
// again for ever, with jitter, and declares what is to be declared again. The client's
// own recovery is not used: a late ack would hit another message that was given the
// same delivery tag. Every lease belongs to its channel ([broker.Session]); once that
// is gone, settling fails with [broker.ErrLeaseLost] and does nothing.
//
// # What is pushed
//
// RabbitMQ pushes. Nothing is consumed before the first Receive, and the prefetch is
// what Receive asks for, so that slow handlers take nothing that another worker could
// run. When a Receive is cancelled (a pause, a drain) the consumer is cancelled too,
// except that of an ordered queue, which stays the active one until its channel ends.
//
// # Words
//
//	link       keeps one connection, for ever
//	session    one channel with one consumer; what deliveries are leased on
//	leased     one delivery on a session
//	window     how many messages the server may push: AMQP's prefetch
//	tracker    which delivery tags are settled, so that one ack covers many
//	gate       where messages of a key wait for one that was given back
//	outbox     a connection for publishing
//	lane       a channel with confirms, one for each exchange
//	parcel     a message on its way to the server
//	rung       a delay, and the queue that makes it
//	topology   what must exist on the server for one queue
package rabbit
