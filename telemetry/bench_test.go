package telemetry

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

func benchWorker(b *testing.B, c Config) *Worker {
	b.Helper()
	c.System, c.Destination, c.Consumer = "anyqueue_memory", "orders", "billing"
	c.Propagator = propagation.TraceContext{}
	w, err := NewWorker(c)
	if err != nil {
		b.Fatal(err)
	}
	return w
}

func benchMeter() *sdkmetric.MeterProvider {
	return sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
}

func benchDelivery(headers broker.Headers) *broker.Delivery {
	return &broker.Delivery{
		Message: &broker.Message{ID: "0190-1", Headers: headers, Body: []byte("{}")},
		Source:  "orders", Attempt: 1,
	}
}

var traced = broker.Headers{
	{Name: "content-type", Value: "application/json"},
	{Name: "traceparent", Value: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
}

// BenchmarkProcess is one attempt's span, started and ended.
func BenchmarkProcess(b *testing.B) {
	for name, c := range map[string]Config{
		"off/global":  {},
		"off/noop":    {Tracer: noop.NewTracerProvider()},
		"sdk/sampled": {Tracer: sdktrace.NewTracerProvider()},
		"sdk/dropped": {Tracer: sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))},
	} {
		for kind, headers := range map[string]broker.Headers{"context": traced, "no-context": traced[:1]} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				w, d, ctx := benchWorker(b, c), benchDelivery(headers), b.Context()
				b.ReportAllocs()
				for b.Loop() {
					_, span := w.Process(ctx, d)
					span.End(OutcomeAck, "", nil)
				}
			})
		}
	}
	b.Run("off/parallel", func(b *testing.B) {
		w, d, ctx := benchWorker(b, Config{}), benchDelivery(traced), b.Context()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, span := w.Process(ctx, d)
				span.End(OutcomeAck, "", nil)
			}
		})
	})
}

// BenchmarkProcessBatch is one span for ten messages with a context each.
func BenchmarkProcessBatch(b *testing.B) {
	batch := make([]*broker.Delivery, 10)
	for i := range batch {
		batch[i] = benchDelivery(traced)
	}
	for name, c := range map[string]Config{"off": {}, "sdk": {Tracer: sdktrace.NewTracerProvider()}} {
		b.Run(name, func(b *testing.B) {
			w, ctx := benchWorker(b, c), b.Context()
			b.ReportAllocs()
			for b.Loop() {
				_, span := w.ProcessBatch(ctx, batch)
				span.End(OutcomeAck, "", nil)
			}
		})
	}
}

// BenchmarkMeasure is what one message pays for metrics.
func BenchmarkMeasure(b *testing.B) {
	boom := errors.New("boom")
	for name, f := range map[string]func(context.Context, *Worker){
		"processed/ok":     func(ctx context.Context, w *Worker) { w.Processed(ctx, time.Millisecond, "", nil) },
		"processed/failed": func(ctx context.Context, w *Worker) { w.Processed(ctx, time.Millisecond, failure.ClassBug, boom) },
		"waits":            func(ctx context.Context, w *Worker) { w.Waits(ctx, time.Microsecond, time.Second) },
		"completed":        func(ctx context.Context, w *Worker) { w.Completed(ctx, time.Second, broker.Ack) },
		"retried":          func(_ context.Context, w *Worker) { w.Retried(failure.ClassTimeout, true) },
	} {
		b.Run("sdk/"+name, func(b *testing.B) { measure(b, Config{Meter: benchMeter()}, f) })
		b.Run("off/"+name, func(b *testing.B) { measure(b, Config{}, f) })
	}
}

func measure(b *testing.B, c Config, f func(context.Context, *Worker)) {
	w, ctx := benchWorker(b, c), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		f(ctx, w)
	}
}

// BenchmarkCollect is one collection of a consumer's ledger and state.
func BenchmarkCollect(b *testing.B) {
	w := benchWorker(b, Config{Meter: benchMeter()})
	s := Snapshot{Limit: 10, Status: StatusRunning}
	b.ReportAllocs()
	for b.Loop() {
		s.Received++
		s.Acked++
		w.ledger.flush(b.Context(), &s)
	}
}

type discard struct{}

func (discard) Publish(context.Context, string, ...*broker.Message) error { return nil }
func (discard) Close(context.Context) error                               { return nil }

// BenchmarkPublish is what the wrapper adds to a Publish.
func BenchmarkPublish(b *testing.B) {
	for name, c := range map[string]Config{
		"off":     {},
		"metrics": {Meter: benchMeter()},
		"traced":  {Tracer: sdktrace.NewTracerProvider()},
	} {
		for n, of := range map[int]string{1: "one", 10: "ten"} {
			b.Run(name+"/"+of, func(b *testing.B) {
				c := c
				c.System, c.Propagator = "anyqueue_memory", propagation.TraceContext{}
				p, err := WrapPublisher(discard{}, c)
				if err != nil {
					b.Fatal(err)
				}
				messages := make([]*broker.Message, n)
				for i := range messages {
					messages[i] = &broker.Message{ID: "1", PublishedAt: time.Now(), Headers: traced[:1:1]}
				}
				ctx := b.Context()
				b.ReportAllocs()
				for b.Loop() {
					if err := p.Publish(ctx, "orders", messages...); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
