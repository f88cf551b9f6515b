package memory_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/memory"
)

// check keeps the examples short. A program handles its errors.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

// A message is published, fails once, fails for good, and is found among the
// dead letters with the reason.
func Example() {
	ctx := context.Background()
	b := memory.New(memory.Options{})
	defer b.Close()
	check(b.Declare(memory.Queue{Name: "refunds"}))
	sub, err := b.Subscribe("refunds", memory.SubscribeOptions{})
	check(err)
	check(b.Publisher().Publish(ctx, "refunds", &broker.Message{ID: "refund-1", Body: []byte(`{"order":7}`)}))

	for range 2 {
		deliveries, err := sub.Receive(ctx, broker.Credit{Messages: 10, Bytes: 1 << 20})
		check(err)
		for i := range deliveries {
			d := &deliveries[i]
			fmt.Printf("attempt %d of %s\n", d.Attempt, d.ID)
			outcome := broker.Settlement{Delivery: d, Action: broker.Retry, Attempt: d.Attempt + 1}
			if d.Attempt == 2 {
				outcome.Action = broker.DeadLetter
				outcome.Failure = failure.Next(d.Failure, failure.Observation{
					Err: errors.New("order 7 is cancelled"), Class: failure.ClassData, Attempt: d.Attempt, Source: d.Source,
				})
			}
			check(sub.Settle(ctx, []broker.Settlement{outcome}))
		}
	}

	check(b.Drained(ctx, "refunds"))
	dead, err := b.Messages("refunds.dlq")
	check(err)
	for _, m := range dead {
		fmt.Printf("dead letter %s %s: %s, %s\n", m.ID, m.Body, m.Failure.Class, m.Failure.Message())
	}
	// Output:
	// attempt 1 of refund-1
	// attempt 2 of refund-1
	// dead letter refund-1 {"order":7}: data, order 7 is cancelled
}

// An acknowledgement arrives, but its confirmation does not: to acknowledge once
// more finds the lease gone, because the message is.
func ExampleBroker_Inject() {
	ctx := context.Background()
	b := memory.New(memory.Options{})
	defer b.Close()
	check(b.Declare(memory.Queue{Name: "refunds"}))
	sub, err := b.Subscribe("refunds", memory.SubscribeOptions{})
	check(err)
	check(b.Publisher().Publish(ctx, "refunds", &broker.Message{}))
	deliveries, err := sub.Receive(ctx, broker.Credit{Messages: 1, Bytes: 1 << 20})
	check(err)

	check(b.Inject("refunds", memory.Faults{
		Settle: memory.Next(1, memory.LoseResponse(broker.ErrDisconnected)),
	}))
	ack := []broker.Settlement{{Delivery: &deliveries[0], Action: broker.Ack}}
	fmt.Println("disconnected:", errors.Is(sub.Settle(ctx, ack), broker.ErrDisconnected))
	fmt.Println("lost:", errors.Is(sub.Settle(ctx, ack), broker.ErrLeaseLost))
	stats, err := b.Stats("refunds")
	check(err)
	fmt.Println("left:", stats.Total())
	// Output:
	// disconnected: true
	// lost: true
	// left: 0
}
