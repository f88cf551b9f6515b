package telemetry

import "github.com/anyqueue/anyqueue/broker"

// operations are a system's own words for what is done with its messages:
// messaging.operation.name.
type operations struct {
	send string
	// receive is empty where the broker pushes: no call of ours brings a message.
	receive string
	settle  [broker.Release + 1]string // by broker.Action
}

// The operations that have one name everywhere.
const (
	operationCreate  = "create"
	operationProcess = "process"
)

func operationsOf(system string) operations {
	switch system {
	case "rabbitmq":
		return operations{send: "publish", settle: settles("ack", "ack", "ack", "nack")}
	case "aws_sqs":
		return operations{
			send: "send", receive: "receive",
			settle: settles("delete", "change_visibility", "delete", "change_visibility"),
		}
	case "kafka":
		return operations{send: "send", receive: "poll", settle: settles("commit", "commit", "commit", "commit")}
	default:
		return operations{send: "send", receive: "receive", settle: settles("ack", "retry", "dead_letter", "release")}
	}
}

// settles names the call that settles a message, by what is to become of it.
// Where a copy is published first (a retry or a dead letter on RabbitMQ and
// Kafka), that is a send of its own.
func settles(ack, retry, deadLetter, release string) (names [broker.Release + 1]string) {
	names[broker.Ack], names[broker.Retry], names[broker.DeadLetter], names[broker.Release] = ack, retry, deadLetter, release
	return names
}

// consumed is the operation that messaging.client.consumed.messages counts: the
// one that brought the message to the application.
func (o operations) consumed() string {
	if o.receive == "" {
		return operationProcess
	}
	return o.receive
}
