// Package memory is a message broker that lives in the memory of one process,
// with the semantics of a real one: leases that run out, delays, the order of
// keys, dead letters, limits, competing consumers. It is what a handler is
// tested with, what the conformance suite takes as its reference, and a broker
// for work that may be lost with the process. Nothing is written to disk.
//
//	b := memory.New(memory.Options{})
//	defer b.Close()
//	err := b.Declare(memory.Queue{Name: "refunds"}) // and "refunds.dlq"
//	sub, err := b.Subscribe("refunds", memory.SubscribeOptions{})
//	err = b.Publisher().Publish(ctx, "refunds", &broker.Message{Body: body})
//
// # Guarantees
//
//   - A confirmed message is delivered until it is acknowledged or dead-lettered,
//     and afterwards never again.
//   - While a delivery is leased nobody else is given the message. What comes from
//     a delivery whose lease has ended is refused with broker.ErrLeaseLost and
//     changes nothing.
//   - Messages are delivered in the order of publication. A message that is given
//     back returns to its place in that order.
//   - Nothing of a key is delivered, to any consumer, while an earlier message of
//     that key is leased or delayed. So a key has at most one message in flight,
//     and a failing message holds back its own key alone.
//   - A dead letter moves in one step: it is in its queue or in the dead-letter
//     queue at any moment, with body and headers as they were published, whatever
//     handlers did to theirs.
//
// Publishing, receiving and settling cost the same however many messages and
// keys are waiting (what comes back late costs a logarithm), and the memory of
// messages that are gone is free for others.
//
// # Other brokers' limits
//
// [Queue].Without takes abilities away one by one, and
// [SubscribeOptions].SessionLeases ties leases to a connection. The announced
// [broker.Capabilities] follow, so that a test sees how its consumer behaves on
// such a broker. Close to RabbitMQ, for example:
//
//	memory.Queue{Name: "refunds", Lease: -1, Without: memory.Without{KeyOrder: true, Delay: true}}
//	memory.SubscribeOptions{SessionLeases: true}
//
// and to SQS:
//
//	memory.Queue{Name: "refunds", MaxLease: 12 * time.Hour, MaxDelay: 12 * time.Hour,
//		MaxMessageBytes: 1 << 20, Without: memory.Without{Attempts: true, Failure: true}}
//	memory.SubscribeOptions{MaxSettle: 10, MaxExtend: 10}
//
// # Testing a handler
//
// Run the consumer on a subscription, publish, wait with [Broker.Drained] until
// every message was acknowledged or dead-lettered, and look at what is left:
//
//	dead, err := b.Messages("refunds.dlq")
//	// dead[0].Body, dead[0].Failure.Class
//
// In a testing/synctest bubble leases and delays take no time. Make the broker
// inside of the bubble.
//
// What must not happen can be made to happen: [Broker.Inject] lets calls and
// single messages fail, get lost, take time or arrive twice,
// [Subscription.Disconnect] drops a connection, and [Broker.Disconnect] all of
// them. The third settlement done but reported as failed, and every dead letter
// refused:
//
//	b.Inject("refunds", memory.Faults{Settle: memory.Nth(3, memory.LoseResponse(broker.ErrDisconnected))})
//	b.Inject("refunds", memory.Faults{Settle: memory.When(
//		func(op memory.Op) bool { return op.Settlement.Action == broker.DeadLetter },
//		memory.Always(memory.Fail(broker.ErrFull)),
//	)})
package memory
