package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
	"github.com/anyqueue/anyqueue/telemetry"
)

const queue = "bench"

// variant is what of the runtime is switched on. Retries and the capture of
// panics cannot be switched off.
type variant struct {
	timeout, metrics, tracing bool
}

// consumer is anyqueue: the runtime on the in-memory broker.
type consumer struct {
	queueOf
	consumer *runtime.Consumer
	cancel   context.CancelFunc
	ended    chan error
}

// queueOf is an in-memory broker with one queue and the messages for it.
type queueOf struct {
	broker    *memory.Broker
	publisher *memory.Publisher
	messages  []*broker.Message
}

func newQueue(items []Item) (queueOf, error) {
	b := memory.New(memory.Options{})
	q := queueOf{broker: b, publisher: b.Publisher()}
	for _, it := range items {
		q.messages = append(q.messages, &broker.Message{ID: it.ID, Key: it.Key, Body: it.Body})
	}
	return q, b.Declare(memory.Queue{Name: queue})
}

// Publish sends prepared messages; the broker keeps copies.
func (q *queueOf) Publish(ctx context.Context, from, to int) error {
	return q.publisher.Publish(ctx, queue, q.messages[from:to]...)
}

// startConsumer returns a starter of a consumer with what v switches on. watch
// may wrap the subscription; nil: it is used as it is.
func startConsumer(v variant, watch func(broker.Subscription) broker.Subscription) func(context.Context, Case, []Item, Handle) (Pipe, error) {
	return func(ctx context.Context, c Case, items []Item, h Handle) (Pipe, error) {
		q, err := newQueue(items)
		if err != nil {
			return nil, err
		}
		var sub broker.Subscription
		if sub, err = q.broker.Subscribe(queue, memory.SubscribeOptions{}); err != nil {
			return nil, err
		}
		if watch != nil {
			sub = watch(sub)
		}
		p := &consumer{queueOf: q, ended: make(chan error, 1)}
		p.consumer, err = runtime.New(sub, func(_ context.Context, d *broker.Delivery) error {
			h(d.Key, d.Body)
			return nil
		}, v.options(c))
		if err != nil {
			return nil, err
		}
		ctx, p.cancel = context.WithCancel(ctx)
		go func() { p.ended <- p.consumer.Run(ctx) }()
		return p, nil
	}
}

func (v variant) options(c Case) runtime.Options {
	o := runtime.Options{
		Concurrency: c.Concurrency,
		Logger:      slog.New(slog.DiscardHandler),
		Telemetry:   telemetry.Config{Meter: metricnoop.NewMeterProvider()},
	}
	if c.Keyed {
		o.Ordering = runtime.OrderKey
	}
	if v.timeout {
		o.Timeout = attemptTimeout
	}
	if v.metrics {
		o.Telemetry.Meter = meter()
	}
	if v.tracing {
		o.Telemetry.Tracer = tracer()
	}
	return o
}

// meter is a real SDK whose reader nobody reads: what is measured is recording.
func meter() metric.MeterProvider {
	return sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
}

// tracer is a real SDK that samples everything and exports nothing.
func tracer() trace.TracerProvider { return sdktrace.NewTracerProvider() }

// Stop ends the consumer and checks that every message was acknowledged.
func (p *consumer) Stop() error {
	p.cancel()
	err := <-p.ended
	l := p.consumer.Ledger()
	if l.Acked != l.Received || l.InFlight != 0 {
		err = errors.Join(err, fmt.Errorf("not everything was acknowledged: %+v", l))
	}
	return errors.Join(err, p.drained())
}

// drained checks that the queue is empty, and ends the broker.
func (q *queueOf) drained() error {
	defer q.broker.Close()
	s, err := q.broker.Stats(queue)
	if err != nil {
		return err
	}
	if n := s.Total(); n != 0 {
		return fmt.Errorf("%d messages are left in the queue", n)
	}
	return nil
}
