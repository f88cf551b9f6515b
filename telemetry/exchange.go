package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/anyqueue/anyqueue/broker"
)

// call is what tells the series of messaging.client.operation.duration apart.
type call struct {
	name, kind string // messaging.operation.name and .type
	errorType  string // "" for success
}

func newOperationDurations(b *builder, c Config) durations[call] {
	return durations[call]{
		histogram: b.histogram(MetricOperationDuration, c.Buckets.Operation),
		options: newBounded(limitErrorTypes, func(k call) []metric.RecordOption {
			attrs := append(c.messaging(k.name, c.Destination), semconv.MessagingOperationTypeKey.String(k.kind))
			return recordOptions(appendNonEmpty(attrs, semconv.ErrorTypeKey, k.errorType))
		}, func(k call) call {
			k.errorType = collapseErrorType(k.errorType)
			return k
		}),
	}
}

// ReceiveCall records one exchange that asked the broker for messages. Where the
// broker pushes (RabbitMQ) there is none, and nothing is recorded.
func (w *Worker) ReceiveCall(ctx context.Context, dur time.Duration, err error) {
	if w.operations.receive != "" {
		w.call(ctx, w.operations.receive, semconv.MessagingOperationTypeReceive.Value.AsString(), dur, err)
	}
}

// SettleCall records one exchange that settled deliveries with action. Record an
// exchange of mixed actions once, under the one that most of them have.
func (w *Worker) SettleCall(ctx context.Context, action broker.Action, dur time.Duration, err error) {
	if int(action) < len(w.operations.settle) && w.operations.settle[action] != "" {
		w.call(ctx, w.operations.settle[action], semconv.MessagingOperationTypeSettle.Value.AsString(), dur, err)
	}
}

func (w *Worker) call(ctx context.Context, name, kind string, dur time.Duration, err error) {
	k := call{name: name, kind: kind}
	if err != nil {
		k.errorType = ErrorType(err)
	}
	w.operation.record(ctx, dur, k)
}
