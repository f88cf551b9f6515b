// Shutdown shows what Ctrl-C does: a handler that runs may finish, and a message
// that no handler has begun goes back to the queue, with no attempt spent. Press
// Ctrl-C, or wait until the program's own time is over. It prints
//
//	working on report 1
//	report 1 is done
//	left in the queue: report 2 (attempt 1)
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond) // stands for your Ctrl-C
	defer cancel()
	b := memory.New(memory.Options{})
	check(b.Declare(memory.Queue{Name: "reports"}))
	for _, body := range []string{"report 1", "report 2"} {
		check(b.Publisher().Publish(ctx, "reports", &broker.Message{Body: []byte(body)}))
	}
	subscription, err := b.Subscribe("reports", memory.SubscribeOptions{})
	check(err)

	work := func(ctx context.Context, d *broker.Delivery) error {
		fmt.Printf("working on %s\n", d.Body)
		select {
		case <-time.After(time.Second): // the work; shutdown begins meanwhile
			fmt.Printf("%s is done\n", d.Body)
			return nil
		case <-ctx.Done(): // DrainTimeout is over, or somebody pressed Ctrl-C twice
			return context.Cause(ctx)
		}
	}
	consumer, err := runtime.New(subscription, work, runtime.Options{Concurrency: 1, DrainTimeout: 10 * time.Second})
	check(err)
	check(runtime.RunUntilSignal(ctx, consumer)) // SIGINT or SIGTERM, or ctx ends

	left, err := b.Messages("reports")
	check(err)
	for _, m := range left {
		fmt.Printf("left in the queue: %s (attempt %d)\n", m.Body, m.Attempt)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
