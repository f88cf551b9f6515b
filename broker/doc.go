// Package broker is the contract between anyqueue's consumer runtime and a
// message broker: what a message is, what a delivery is, how a delivery is
// settled, and what a broker can and cannot do.
//
// Three readers meet here.
//
//   - A handler reads a [Delivery].
//   - The author of an adapter implements [Subscription] and [Publisher], states
//     the broker's [Capabilities], and runs the conformance suite in
//     broker/brokertest.
//   - The runtime drives a Subscription and decides every settlement.
//
// An adapter method is one exchange with the broker. It holds no retry policy,
// no worker pool, no metrics and no opinion about failures: those live once, in
// the runtime. Reconnecting is the adapter's; deciding what a failure means is
// not.
//
// # Glossary
//
// The same idea has a different name in every broker. This package uses one:
//
//	here           RabbitMQ                   SQS                        Kafka
//	-------------  -------------------------  -------------------------  ---------------------------
//	queue          queue                      queue                      topic (with a consumer group)
//	key            -                          message group              record key
//	delivery       delivery                   received message           record
//	lease          unacked delivery on a      visibility timeout         partition assignment
//	               channel, ack timeout
//	session        channel                    - (none is ever lost)      assignment of a partition
//	ack            basic.ack                  DeleteMessage              offset commit
//	retry          copy to a delay queue      ChangeMessageVisibility    copy to a retry topic
//	release        nack with requeue          visibility 0               offset not committed
//	dead letter    dead-letter exchange       dead-letter queue          dead-letter topic
package broker
