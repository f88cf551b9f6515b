package config_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/config"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/memory"
)

// A worker whose broker, queue and numbers come from a file.
func Example_open() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	worker, err := config.Open(ctx, "testdata/refunds.yaml", memory.Driver)
	if err != nil {
		fmt.Println(err) // every fault, one per line
		return
	}
	consumer, err := worker.Consumer(func(_ context.Context, d *broker.Delivery) error {
		fmt.Printf("%s, attempt %d: %s\n", d.Source, d.Attempt, d.Body)
		stop() // one is enough for an example
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	message := &broker.Message{Key: "order-17", Type: "refund.requested", Body: []byte("200.00 EUR")}
	if err := worker.Publisher().Publish(ctx, worker.Queue(), message); err != nil {
		fmt.Println(err)
		return
	}
	if err := consumer.Run(ctx); err != nil {
		fmt.Println(err)
	}
	if err := worker.Close(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: refunds, attempt 1: 200.00 EUR
}

// All faults of a file are reported at once, each with its place and a remedy.
func ExampleParse_faults() {
	file := strings.Join([]string{
		"broker: memory",
		"queue: ${QUEUE}",
		"consumer:",
		"  concurency: 16",
		"  timeout: 30",
		"  drain_timeout: 0s",
		"  max_attempts: 3",
	}, "\n")
	noVariables := func(string) (string, bool) { return "", false }
	_, err := config.Parse("refunds.yaml", []byte(file), noVariables, memory.Driver)
	fmt.Println(err)
	// Output:
	// refunds.yaml:2:8: queue: needs the environment variable QUEUE, which is not set; set it, or write ${QUEUE:-default}
	// refunds.yaml:4:3: consumer.concurency: is not a known key; did you mean concurrency?
	// refunds.yaml:5:12: consumer.timeout: "30" has no unit; write 30s for seconds, or another of the units ns, us, ms, s, m, h, d
	// refunds.yaml:6:18: consumer.drain_timeout: "0s" would mean the default, 30s; leave the key out for that, or write a negative value: handlers are cancelled at once
	// refunds.yaml:7:3: consumer.max_attempts: is not a known key; it belongs to consumer.retry
}

// The dead letters say why they are there. One whose cause is repaired is sent
// back: published first, and acknowledged when that is safe.
func ExampleWorker_OpenDeadLetters() {
	ctx, stop := context.WithCancel(context.Background())
	w, err := config.Open(ctx, "testdata/worker.yaml", memory.Driver)
	check(err)
	consumer, err := w.Consumer(func(context.Context, *broker.Delivery) error {
		stop() // one is enough for an example
		return failure.Data(errors.New("the order is not paid yet"))
	})
	check(err)
	check(w.Publisher().Publish(ctx, w.Queue(), &broker.Message{ID: "refund-A-1"}))
	check(consumer.Run(ctx))

	ctx = context.Background()
	repaired := func(d *broker.Delivery) bool { return d.ID == "refund-A-1" }
	dead, err := w.OpenDeadLetters(ctx)
	check(err)
	found, err := dead.Receive(ctx, broker.Credit{Messages: 10, Bytes: 1 << 20}) // waits until there is one
	check(err)
	for i := range found {
		d := &found[i]
		fmt.Println(d.ID, d.Failure.Class, d.Failure.Count, d.Failure.Message())
		outcome := broker.Settlement{Delivery: d, Action: broker.Release} // leave it where it is, or
		if repaired(d) {
			check(w.Publisher().Publish(ctx, w.Queue(), d.Message)) // send it back,
			outcome.Action = broker.Ack                             // and then remove it here
		}
		check(dead.Settle(ctx, []broker.Settlement{outcome}))
	}
	check(dead.Close(ctx))
	back, err := w.Subscription().(*memory.Subscription).Broker().Messages(w.Queue())
	check(err)
	check(w.Close(ctx))
	fmt.Println(len(back), "back in its queue")
	// Output:
	// refund-A-1 data 1 the order is not paid yet
	// 1 back in its queue
}
