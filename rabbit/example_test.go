package rabbit_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/rabbit"
	"github.com/anyqueue/anyqueue/runtime"
)

// A worker without a configuration file. The intent makes queues that fit the
// consumer: a delay queue for each wait of its backoff.
func ExampleOpen() {
	ctx := context.Background()
	options := runtime.Options{Concurrency: 16, Timeout: 30 * time.Second}
	settings := rabbit.Settings{
		URL:          broker.NewSecret("amqp://refunds@mq.example/shop"),
		PasswordFile: "/run/secrets/rabbitmq", // read again at every connect
		Bindings: []rabbit.Binding{
			{Exchange: "orders", Type: rabbit.Topic, RoutingKeys: []string{"order.*.cancelled"}},
		},
	}
	end, err := rabbit.Open(ctx, settings, "refunds", options.Intent())
	if err != nil {
		log.Fatal(err) // every fault of the settings at once
	}
	worker, err := runtime.New(end.Subscription, func(_ context.Context, d *broker.Delivery) error {
		fmt.Println("refund", d.ID)
		return nil
	}, options)
	if err != nil {
		log.Fatal(err)
	}
	if err := runtime.RunUntilSignal(ctx, worker); err != nil {
		log.Fatal(err)
	}
	if err := end.Publisher.Close(ctx); err != nil {
		log.Fatal(err)
	}
}

// A program that only publishes: to a queue, and to an exchange.
func ExampleNewPublisher() {
	ctx := context.Background()
	p, err := rabbit.NewPublisher(ctx, rabbit.Settings{URL: broker.NewSecret("amqp://shop:secret@mq.example/")})
	if err != nil {
		log.Fatal(err)
	}
	m := &broker.Message{ID: "refund-A-1", Key: "A-1", Body: []byte(`{"Order": "A-1"}`)}
	if err := p.Publish(ctx, "refunds", m); err != nil {
		log.Print(err) // not known to be safe: publish m again, its id is the same
	}
	if err := p.Publish(ctx, rabbit.To("orders", "order.eu.cancelled"), m); err != nil {
		log.Print(err)
	}
	if err := p.Close(ctx); err != nil {
		log.Print(err)
	}
}

// What a worker would be able to do is known without a server.
func ExampleCapabilities() {
	settings := rabbit.Settings{URL: broker.NewSecret("amqp://mq.example/")}
	intent := broker.Intent{MaxAttempts: 5, Delays: []time.Duration{200 * time.Millisecond, time.Minute}}
	can, err := rabbit.Capabilities(settings, "refunds", intent)
	fmt.Println(can.MaxDelay, can.KeyOrder, err)

	intent.Ordered = true
	can, err = rabbit.Capabilities(settings, "refunds", intent)
	fmt.Println(can.MaxDelay, can.KeyOrder, err)
	// Output:
	// 1m0s false <nil>
	// 0s true <nil>
}

// Properties that a broker.Message has no field for are in what the server delivered.
func ExampleNative() {
	handler := func(_ context.Context, d *broker.Delivery) error {
		if native, ok := rabbit.Native(d); ok {
			fmt.Println(native.ContentType, native.CorrelationId, native.Priority)
		}
		return nil
	}
	_ = handler
}
