package runtime_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
	"github.com/anyqueue/anyqueue/telemetry"
)

// sums adds up what a metric's points say, by the value of one attribute.
func sums(t *testing.T, reader metric.Reader, name, attr string) map[string]float64 {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			if m.Name != name {
				continue
			}
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					v, _ := p.Attributes.Value(attrKey(attr))
					out[v.String()] += float64(p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					v, _ := p.Attributes.Value(attrKey(attr))
					out[v.String()] += float64(p.Count)
				}
			}
		}
	}
	return out
}

// The metrics say what the ledger says, and each attempt has a span of its own,
// linked to the publication.
func TestTelemetryAgreesWithTheLedger(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		reader := metric.NewManualReader()
		spans := tracetest.NewSpanRecorder()
		tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
		traceContext := propagation.TraceContext{}
		pub, err := telemetry.WrapPublisher(w.broker.Publisher(), telemetry.Config{Tracer: tracer, Propagator: traceContext, System: "anyqueue_memory"})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{"good", "bad"} {
			if err := pub.Publish(w.Context(), w.queue, &broker.Message{Body: []byte(s)}); err != nil {
				t.Fatal(err)
			}
		}
		x := w.run(func(_ context.Context, d *broker.Delivery) error {
			if string(d.Body) == "bad" {
				return errors.New("no luck")
			}
			return nil
		}, runtime.Options{
			Concurrency: 1, Telemetry: telemetry.Config{
				Meter: metric.NewMeterProvider(metric.WithReader(reader)), Tracer: tracer, Propagator: traceContext,
			},
			Retry: runtime.RetryPolicy{MaxAttempts: 3, Backoff: noJitter},
		})
		settleDown(time.Minute)
		x.wantLedger(runtime.Ledger{Acked: 1, Retried: 2, DeadLettered: 1})

		settlements := sums(t, reader, telemetry.MetricSettlements, "outcome")
		if settlements["ack"] != 1 || settlements["retry"] != 2 || settlements["dead_letter"] != 1 {
			t.Errorf("settlements %v", settlements)
		}
		if got := sums(t, reader, "messaging.process.duration", "error.type"); got[""]+got["*errors.errorString"]+got["errors.errorString"] != 4 {
			t.Errorf("process durations %v", got)
		}
		if got := sums(t, reader, "messaging.client.consumed.messages", "x"); got[""] != 4 {
			t.Errorf("consumed %v", got)
		}
		if err := x.shutdown(); err != nil {
			t.Error(err)
		}

		created := map[string]string{} // span id -> trace id of the publications
		attempts := 0
		for _, s := range spans.Ended() {
			if s.SpanKind().String() == "producer" {
				created[s.SpanContext().SpanID().String()] = s.SpanContext().TraceID().String()
			}
		}
		for _, s := range spans.Ended() {
			if s.SpanKind().String() != "consumer" {
				continue
			}
			attempts++
			if len(s.Links()) != 1 || created[s.Links()[0].SpanContext.SpanID().String()] == "" {
				t.Errorf("span %q is not linked to its publication: %v", s.Name(), s.Links())
			}
		}
		if attempts != 4 {
			t.Errorf("%d attempts have a span, want 4", attempts)
		}
		_, dead := w.left()
		if id := dead[0].Failure.TraceID; id == "" {
			t.Error("the dead letter does not name its trace")
		}
	})
}
