// Quickstart publishes three messages to a queue of the embedded broker, handles
// them one after the other, and stops. It prints
//
//	hello, Ada
//	hello, Edsger
//	hello, Grace
//	3 received, 3 acknowledged
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	b := memory.New(memory.Options{})
	defer b.Close()
	if err := b.Declare(memory.Queue{Name: "greetings"}); err != nil {
		return err
	}
	for _, name := range []string{"Ada", "Edsger", "Grace"} {
		if err := b.Publisher().Publish(ctx, "greetings", &broker.Message{Body: []byte(name)}); err != nil {
			return err
		}
	}
	subscription, err := b.Subscribe("greetings", memory.SubscribeOptions{})
	if err != nil {
		return err
	}

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	greet := func(_ context.Context, d *broker.Delivery) error {
		fmt.Printf("hello, %s\n", d.Body)
		if string(d.Body) == "Grace" {
			stop() // the last one; what runs is finished and acknowledged all the same
		}
		return nil // acknowledges the message; an error would have it tried again
	}
	consumer, err := runtime.New(subscription, greet, runtime.Options{Concurrency: 1})
	if err != nil {
		return err
	}
	err = consumer.Run(ctx) // until ctx ends and everything is settled
	fmt.Printf("%d received, %d acknowledged\n", consumer.Ledger().Received, consumer.Ledger().Acked)
	return err
}
