package telemetry

import (
	"context"
	"fmt"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/anyqueue/anyqueue/broker"
)

// queueGauges are what the broker says of the queue. They carry the destination
// and no consumer: the number belongs to the queue, so that several consumers of
// it report the same series instead of some that a dashboard would add up.
type queueGauges struct {
	messages, deadLetters metric.Int64ObservableGauge
	oldestAge             metric.Float64ObservableGauge

	base                     []metric.ObserveOption
	ready, inFlight, delayed []metric.ObserveOption
}

func newQueueGauges(b *builder, c Config) queueGauges {
	destination := func(more ...attribute.KeyValue) []metric.ObserveOption {
		return observeOptions(append(appendNonEmpty(nil, keyDestination, c.Destination), more...))
	}
	return queueGauges{
		messages:    b.gauge(MetricQueueMessages),
		deadLetters: b.gauge(MetricDeadLetterMessages),
		oldestAge:   b.floatGauge(MetricQueueOldestAge),
		base:        destination(),
		ready:       destination(keyState.String(stateReady)),
		inFlight:    destination(keyState.String(stateInFlight)),
		delayed:     destination(keyState.String(stateDelayed)),
	}
}

// ObserveQueue reports the depth and age of the queue each time that metrics are
// collected. stats returns the latest answer of the broker that one poller keeps,
// and false while there is none or it is too old to be true; it must not ask the
// broker itself, and is called as the snapshot of [Worker.Observe] is. What is
// unknown is absent, never 0.
//
// Every process that consumes the queue reports it: take the maximum over
// processes, not the sum.
//
// Call unregister when the poller has ended; it may be called more than once.
func (w *Worker) ObserveQueue(stats func() (broker.Stats, bool)) (unregister func() error, err error) {
	q := &w.queue
	registration, err := w.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s, ok := stats()
		if !ok {
			return nil
		}
		observeKnown(o, q.messages, s.Ready, q.ready)
		observeKnown(o, q.messages, s.InFlight, q.inFlight)
		observeKnown(o, q.messages, s.Delayed, q.delayed)
		observeKnown(o, q.deadLetters, s.DeadLetters, q.base)
		if age, ok := s.OldestAge.Get(); ok {
			o.ObserveFloat64(q.oldestAge, max(age, 0).Seconds(), q.base...)
		}
		return nil
	}, q.messages, q.deadLetters, q.oldestAge)
	if err != nil {
		return nil, fmt.Errorf("telemetry: register the metrics of queue %q: %w", w.config.Destination, err)
	}
	return sync.OnceValue(func() error {
		if err := registration.Unregister(); err != nil {
			return fmt.Errorf("telemetry: unregister the metrics of queue %q: %w", w.config.Destination, err)
		}
		return nil
	}), nil
}

func observeKnown(o metric.Observer, g metric.Int64Observable, v broker.Value[int64], opts []metric.ObserveOption) {
	if n, ok := v.Get(); ok {
		o.ObserveInt64(g, n, opts...)
	}
}
