package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/idempotency"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/middleware"
	"github.com/anyqueue/anyqueue/runtime"
)

// The whole chain, in the order that is right for most.
// A refund is requested twice and paid once; a request that nobody can read ends
// in the dead letters.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	mq := memory.New(memory.Options{})
	defer mq.Close()
	check(mq.Declare(memory.Queue{Name: "refunds"}))
	sub, err := mq.Subscribe("refunds", memory.SubscribeOptions{})
	check(err)
	store, err := idempotency.NewMemory(idempotency.MemoryOptions{})
	check(err)

	type refund struct{ Order string }
	worker, err := runtime.New(sub, func(ctx context.Context, _ *broker.Delivery) error {
		fmt.Println("paid", middleware.MustDecoded[refund](ctx).Order)
		return nil
	}, runtime.Options{Middleware: []runtime.Middleware{
		middleware.Logging(middleware.LoggingOptions{FailureLevel: slog.LevelDebug}),
		middleware.Decode(middleware.DecodeOptions{Schemas: []middleware.Schema{
			middleware.JSONSchema[refund]("refund.requested", 1),
		}}),
		middleware.Dedupe(store, middleware.DedupeOptions{Retention: 7 * 24 * time.Hour}),
		middleware.RateLimit(middleware.RateLimitOptions{PerSecond: 100, Burst: 10}),
		middleware.CircuitBreaker(middleware.BreakerOptions{Name: "bank"}),
		middleware.Timeout(10 * time.Second),
	}})
	check(err)

	request := func(id, body string) *broker.Message {
		return &broker.Message{ID: id, Type: "refund.requested", SchemaVersion: 1, Body: []byte(body)}
	}
	check(mq.Publisher().Publish(ctx, "refunds",
		request("1", `{"Order": "A-1"}`), request("1", `{"Order": "A-1"}`), request("2", `{"Order`)))
	go func() {
		_ = mq.Drained(ctx, "refunds")
		stop()
	}()
	check(worker.Run(ctx))

	dead, err := mq.Messages("refunds.dlq")
	check(err)
	for _, m := range dead {
		fmt.Println("dead letter", m.ID, m.Failure.Class)
	}
	// Output:
	// paid A-1
	// dead letter 2 format
}

// A breaker that several consumers share, and whose changes somebody hears of.
func ExampleBreaker() {
	bank := middleware.NewBreaker(middleware.BreakerOptions{
		Name:     "bank",
		MinCalls: 3,
		OnStateChange: func(c middleware.BreakerChange) {
			fmt.Println(c.Name, "is", c.To, "for", c.OpenFor)
		},
	})
	pay := bank.Middleware().Wrap(func(context.Context, *broker.Delivery) error {
		return failure.DependencyOf("bank", errors.New("connection refused"))
	})
	for range 3 {
		_ = pay(context.Background(), &broker.Delivery{Message: &broker.Message{}})
	}
	fmt.Println(bank.State())
	// Output:
	// bank is open for 5s
	// open
}
