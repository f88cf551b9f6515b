package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/rabbit"
	"github.com/anyqueue/anyqueue/runtime"
	"github.com/anyqueue/anyqueue/telemetry"
)

// startAdapter returns a starter of the adapter alone: one goroutine that
// receives, handles and settles, most at once.
func startAdapter(most int) func(context.Context, load) (func() error, error) {
	return func(ctx context.Context, l load) (func() error, error) {
		end, err := rabbit.Open(ctx, l.server.settings(l.Prefetch), l.server.Queue, intent)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- receiveAll(ctx, end.Subscription, most, l.handle) }()
		return func() error {
			cancel()
			return errors.Join(<-ended, closeEndpoint(ctx, end))
		}, nil
	}
}

// farewell bounds the closing of what a run has opened.
const farewell = 10 * time.Second

func closeEndpoint(ctx context.Context, end *broker.Endpoint) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	return errors.Join(end.Subscription.Close(ctx), end.Publisher.Close(ctx))
}

// receiveAll consumes until ctx ends. A batch is settled when it is full, and at
// the end of what one Receive brought.
func receiveAll(ctx context.Context, sub broker.Subscription, most int, h Handle) error {
	credit := broker.Credit{Messages: inFlight, Bytes: 64 << 20}
	settlements := make([]broker.Settlement, 0, most)
	settling := context.WithoutCancel(ctx)
	for {
		deliveries, err := sub.Receive(ctx, credit)
		if err != nil {
			if ctx.Err() != nil {
				err = nil
			}
			return err
		}
		for i := range deliveries {
			h()
			settlements = append(settlements, broker.Settlement{Delivery: &deliveries[i], Action: broker.Ack})
			if len(settlements) == most || i == len(deliveries)-1 {
				if err := sub.Settle(settling, settlements); err != nil {
					return err
				}
				settlements = settlements[:0]
			}
		}
	}
}

// startRuntime returns a starter of the whole: the runtime on the adapter, with a
// time limit for each attempt, retries and capture of panics.
func startRuntime(metrics bool) func(context.Context, load) (func() error, error) {
	return func(ctx context.Context, l load) (func() error, error) {
		end, err := rabbit.Open(ctx, l.server.settings(l.Prefetch), l.server.Queue, intent)
		if err != nil {
			return nil, err
		}
		var meter metric.MeterProvider = metricnoop.NewMeterProvider()
		if metrics {
			meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
		}
		c, err := runtime.New(end.Subscription, func(context.Context, *broker.Delivery) error {
			l.handle()
			return nil
		}, runtime.Options{
			Concurrency: concurrency,
			MaxInFlight: max(inFlight, l.Prefetch),
			Timeout:     30 * time.Second,
			Logger:      slog.New(slog.DiscardHandler),
			Telemetry:   telemetry.Config{Meter: meter},
		})
		if err != nil {
			return nil, errors.Join(err, closeEndpoint(ctx, end))
		}
		running, cancel := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- c.Run(running) }()
		return func() error {
			cancel()
			err := <-ended
			if g := c.Ledger(); g.Acked != g.Received || g.InFlight != 0 {
				err = errors.Join(err, fmt.Errorf("not everything was acknowledged: %+v", g))
			}
			return errors.Join(err, closeEndpoint(ctx, end))
		}, nil
	}
}
