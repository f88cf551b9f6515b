package rabbit

import (
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
)

// Native returns what the server delivered, for the properties that [broker.Message] has
// no field for: content type, correlation id, reply-to, priority, headers with their own
// types. It is false for a delivery of another adapter. A retried message reads as it was
// published first: properties that its copy had to move aside are back in their places.
//
// It is there until the delivery is settled: call it in the handler. The headers and
// the body are shared with the adapter: treat them as read-only. The
// delivery cannot be settled through what is returned (its Ack and Nack fail): a second
// ack would end the channel, and with it the leases of all other messages.
func Native(d *broker.Delivery) (amqp.Delivery, bool) {
	n := nativeOf(d)
	if n == nil {
		return amqp.Delivery{}, false
	}
	native := *n
	native.Acknowledger = nil
	restore(&native)
	return native, true
}
