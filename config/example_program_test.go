package config_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/config"
	"github.com/anyqueue/anyqueue/idempotency"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/middleware"
	"github.com/anyqueue/anyqueue/runtime"
)

// check ends a program that cannot go on.
func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A request that is published twice is handled once.
func Example_program() {
	ctx, stop := context.WithCancel(context.Background())
	w, err := config.Open(ctx, "testdata/worker.yaml", memory.Driver) // the drivers that this program links
	check(err)                                                        // every fault of the file, with its line

	type refund struct{ Order string }
	handler := runtime.JSON(func(ctx context.Context, r refund, d *broker.Delivery) error {
		fmt.Println("refund", r.Order)
		return nil
	})
	claims, err := idempotency.NewMemory(idempotency.MemoryOptions{})
	check(err)
	worker, err := w.Consumer(handler,
		middleware.Dedupe(claims, middleware.DedupeOptions{
			Retention:   24 * time.Hour,
			OnDuplicate: func(context.Context, *broker.Delivery) { stop() }, // drain and return
		}),
		middleware.CircuitBreaker(middleware.BreakerOptions{Name: "payments"}),
	)
	check(err) // what only the broker can contradict, with its line too

	m := &broker.Message{ID: "refund-A-1", Key: "A-1", Body: []byte(`{"Order": "A-1"}`)}
	check(w.Publisher().Publish(ctx, w.Queue(), m, m)) // a publisher that tried again
	fmt.Println(worker.Run(ctx), worker.Ledger().Acked)
	check(w.Close(context.Background()))
	// Output:
	// refund A-1
	// <nil> 2
}
