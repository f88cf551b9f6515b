package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

// check ends a program that cannot go on.
func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A worker: a handler, a queue, a policy. The same handler runs on every broker.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	mq := memory.New(memory.Options{})
	check(mq.Declare(memory.Queue{Name: "refunds"}))
	sub, err := mq.Subscribe("refunds", memory.SubscribeOptions{})
	check(err)
	type refund struct{ Order string }
	handler := runtime.JSON(func(ctx context.Context, r refund, d *broker.Delivery) error {
		fmt.Printf("refund %s, attempt %d\n", r.Order, d.Attempt)
		if d.Attempt == 1 {
			return failure.Dependency(errors.New("payment service is down")) // retried with backoff
		}
		stop() // done: drain and return
		return nil
	})
	worker, err := runtime.New(sub, handler, runtime.Options{Concurrency: 16, Timeout: 30 * time.Second})
	check(err) // every fault at once
	check(mq.Publisher().Publish(ctx, "refunds", &broker.Message{ID: "refund-A-1", Body: []byte(`{"Order": "A-1"}`)}))
	fmt.Println(worker.Run(ctx), worker.Ledger().Balanced())
	// Output:
	// refund A-1, attempt 1
	// refund A-1, attempt 2
	// <nil> true
}

// A batch handler names the items that failed; only those are retried.
func ExampleBatchError() {
	var handler runtime.BatchHandler = func(ctx context.Context, batch []*broker.Delivery) error {
		var failed *runtime.BatchError
		for i, d := range batch {
			if len(d.Body) == 0 {
				failed = failed.Fail(i, failure.Format(errors.New("the body is empty")))
			}
		}
		return failed.Err()
	}
	err := handler(context.Background(), []*broker.Delivery{
		{Message: &broker.Message{Body: []byte("good")}}, {Message: &broker.Message{}},
	})
	fmt.Println(err)
	// Output: batch: 1 failed; #1: the body is empty
}

// A step that may be repeated alone is retried out of the message's one budget.
func ExampleStep() {
	handler := func(ctx context.Context, d *broker.Delivery) error {
		// What was done before is not done again when the next step fails.
		return runtime.Step(ctx, func(ctx context.Context) error {
			return nil // call the payment service
		})
	}
	fmt.Println(handler(context.Background(), nil))
	// Output: <nil>
}
