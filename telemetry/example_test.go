package telemetry_test

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/telemetry"
)

type queue struct{}

func (queue) Publish(_ context.Context, to string, messages ...*broker.Message) error {
	for _, m := range messages {
		_, traced := m.Headers.Lookup("traceparent")
		fmt.Println(to, string(m.Body), "traced:", traced)
	}
	return nil
}

func (queue) Close(context.Context) error { return nil }

// A publisher that is wrapped gives every message the context of its span.
func ExampleWrapPublisher() {
	tracer := sdktrace.NewTracerProvider() // with an exporter, in a program
	publisher, err := telemetry.WrapPublisher(queue{}, telemetry.Config{
		Tracer: tracer, Propagator: propagation.TraceContext{}, System: "rabbitmq",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := publisher.Publish(context.Background(), "orders", &broker.Message{Body: []byte("refund 7")}); err != nil {
		fmt.Println(err)
	}
	// Output: orders refund 7 traced: true
}
