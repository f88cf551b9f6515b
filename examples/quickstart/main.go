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
	ctx, stop := context.WithCancel(context.Background())
	b := memory.New(memory.Options{})
	check(b.Declare(memory.Queue{Name: "greetings"}))
	for _, name := range []string{"Ada", "Edsger", "Grace"} {
		check(b.Publisher().Publish(ctx, "greetings", &broker.Message{Body: []byte(name)}))
	}
	subscription, err := b.Subscribe("greetings", memory.SubscribeOptions{})
	check(err)

	greet := func(_ context.Context, d *broker.Delivery) error {
		fmt.Printf("hello, %s\n", d.Body)
		if string(d.Body) == "Grace" {
			stop() // that was the last one; it is acknowledged all the same
		}
		return nil // acknowledges the message; an error would have it tried again
	}
	consumer, err := runtime.New(subscription, greet, runtime.Options{Concurrency: 1})
	check(err)
	check(consumer.Run(ctx)) // until ctx ends, and then until everything is settled
	fmt.Printf("%d received, %d acknowledged\n", consumer.Ledger().Received, consumer.Ledger().Acked)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
