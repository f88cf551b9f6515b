package bench

import (
	"context"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/telemetry"
)

// MeasureTracingOff takes n times what a message pays for tracing that is
// switched off: its span is asked for and ended. The message carries no trace
// context, as without tracing none does.
func MeasureTracingOff(ctx context.Context, n int) (Sample, error) {
	w, err := telemetry.NewWorker(telemetry.Config{System: "anyqueue_memory", Destination: queue, Consumer: queue})
	if err != nil {
		return Sample{}, err
	}
	d := &broker.Delivery{Message: &broker.Message{ID: "1", Body: make([]byte, 100)}, Source: queue, Attempt: 1}
	return measure(n, func() error {
		for range n {
			_, span := w.Process(ctx, d)
			span.End(telemetry.OutcomeAck, "", nil)
		}
		return nil
	})
}
