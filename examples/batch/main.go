// Batch handles several messages at once, and one of them fails: the others are
// acknowledged, and only that one is tried again. It prints
//
//	batch of 4: a b c d
//	batch of 1: b
//	5 attempts for 4 messages, all acknowledged
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

func main() {
	ctx, stop := context.WithCancel(context.Background())
	b := memory.New(memory.Options{})
	check(b.Declare(memory.Queue{Name: "rows"}))
	for _, body := range []string{"a", "b", "c", "d"} {
		check(b.Publisher().Publish(ctx, "rows", &broker.Message{Body: []byte(body)}))
	}
	subscription, err := b.Subscribe("rows", memory.SubscribeOptions{})
	check(err)

	attempts := 0
	insert := func(_ context.Context, batch []*broker.Delivery) error {
		attempts += len(batch)
		fmt.Printf("batch of %d:", len(batch))
		var failed *runtime.BatchError
		for i, d := range batch {
			fmt.Printf(" %s", d.Body)
			if string(d.Body) == "b" && d.Attempt == 1 {
				failed = failed.Fail(i, errors.New("deadlock"))
			}
		}
		fmt.Println()
		if attempts == 5 {
			stop()
		}
		return failed.Err() // nil when nothing failed
	}
	consumer, err := runtime.NewBatch(subscription, insert, runtime.Options{Concurrency: 1, BatchSize: 4})
	check(err)
	check(consumer.Run(ctx))
	fmt.Printf("%d attempts for %d messages, all acknowledged\n", attempts, consumer.Ledger().Acked)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
