package telemetry

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/anyqueue/anyqueue/failure"
)

// Observe reports the consumer's ledger and state each time that metrics are
// collected, from one snapshot per collection. It is called by the SDK, from
// any goroutine, with the SDK's locks held: snapshot must be quick, safe for
// concurrent use, and must not record metrics.
//
// Call unregister when the consumer has ended, without holding a lock that
// snapshot takes. It reads the last snapshot, so that counts reach even a
// collection that comes after the end of the consumer; what describes a running
// consumer (active, limit, status) is absent from then on. It may be called more
// than once, snapshot is not called after it has returned.
//
// Counts are totals of this Observe: call it once per Worker.
func (w *Worker) Observe(snapshot func() Snapshot) (unregister func() error, err error) {
	registration, err := w.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		s := snapshot()
		w.ledger.flush(ctx, &s)
		w.gauges.observe(o, &s)
		return nil
	}, w.gauges.instruments()...)
	if err != nil {
		return nil, fmt.Errorf("telemetry: register the metrics of consumer %q: %w", w.config.Consumer, err)
	}
	return sync.OnceValue(func() error {
		err := registration.Unregister()
		s := snapshot()
		w.ledger.flush(noRequest, &s)
		if err != nil {
			return fmt.Errorf("telemetry: unregister the metrics of consumer %q: %w", w.config.Consumer, err)
		}
		return nil
	}), nil
}

// tally exports a running total that somebody else keeps, as a counter.
//
// An observable counter would be the obvious instrument, but what it observes
// ends with its callback: whatever a consumer did between the last collection
// and its end would never be seen, which for a short job is everything. So each
// collection, and the end, adds what is new to an ordinary counter. The work
// itself pays an atomic addition in the ledger and nothing here.
type tally struct {
	counter  metric.Int64Counter
	options  []metric.AddOption
	exported atomic.Int64
}

func newTally(counter metric.Int64Counter, attrs []attribute.KeyValue) *tally {
	return &tally{counter: counter, options: addOptions(attrs)}
}

// flush exports up to total. Several readers may collect at the same time; each
// step is added by exactly one of them, and an older total adds nothing.
func (t *tally) flush(ctx context.Context, total int64) {
	for {
		exported := t.exported.Load()
		if total <= exported {
			return
		}
		if t.exported.CompareAndSwap(exported, total) {
			t.counter.Add(ctx, total-exported, t.options...)
			return
		}
	}
}

// ledger is the snapshot's totals as metrics.
type ledger struct {
	received              *tally
	acked, released, lost *tally
	retried, deadLettered [NumClasses]*tally
}

func newLedger(b *builder, c Config, ops operations) ledger {
	settlements := b.counter(MetricSettlements)
	outcome := func(name string, more ...attribute.KeyValue) *tally {
		return newTally(settlements, append(append(c.worker(), keyOutcome.String(name)), more...))
	}
	l := ledger{
		received: newTally(b.counter(MetricConsumed), c.messaging(ops.consumed(), c.Destination)),
		acked:    outcome(OutcomeAck),
		released: outcome(OutcomeRelease),
		lost:     outcome(OutcomeLost),
	}
	for i, class := range failure.Classes() {
		l.retried[i] = outcome(OutcomeRetry, keyFailureClass.String(string(class)))
		l.deadLettered[i] = outcome(OutcomeDeadLetter, keyFailureClass.String(string(class)))
	}
	return l
}

func (l *ledger) flush(ctx context.Context, s *Snapshot) {
	l.received.flush(ctx, s.Received)
	l.acked.flush(ctx, s.Acked)
	l.released.flush(ctx, s.Released)
	l.lost.flush(ctx, s.Lost)
	for i := range NumClasses {
		l.retried[i].flush(ctx, s.Retried[i])
		l.deadLettered[i].flush(ctx, s.DeadLettered[i])
	}
}

// gauges are the snapshot's present values.
type gauges struct {
	active, buffered, held, status metric.Int64ObservableUpDownCounter
	limit                          metric.Int64ObservableGauge
	utilization                    metric.Float64ObservableGauge

	base   []metric.ObserveOption
	states [len(statuses)][]metric.ObserveOption
}

func newGauges(b *builder, c Config) gauges {
	g := gauges{
		active:      b.upDown(MetricActive),
		buffered:    b.upDown(MetricBuffered),
		held:        b.upDown(MetricHeld),
		status:      b.upDown(MetricStatus),
		limit:       b.gauge(MetricLimit),
		utilization: b.floatGauge(MetricUtilization),
		base:        observeOptions(c.worker()),
	}
	for i, state := range statuses {
		g.states[i] = observeOptions(append(c.worker(), keyState.String(state)))
	}
	return g
}

func (g *gauges) instruments() []metric.Observable {
	return []metric.Observable{g.active, g.buffered, g.held, g.status, g.limit, g.utilization}
}

func (g *gauges) observe(o metric.Observer, s *Snapshot) {
	o.ObserveInt64(g.active, s.Active, g.base...)
	o.ObserveInt64(g.buffered, s.Buffered, g.base...)
	o.ObserveInt64(g.held, s.Held, g.base...)
	if s.Limit > 0 {
		o.ObserveInt64(g.limit, s.Limit, g.base...)
		o.ObserveFloat64(g.utilization, float64(s.Active)/float64(s.Limit), g.base...)
	}
	if s.Status == "" {
		return
	}
	for i, state := range statuses {
		value := int64(0)
		if state == s.Status {
			value = 1
		}
		o.ObserveInt64(g.status, value, g.states[i]...)
	}
}
