package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/anyqueue/anyqueue/failure"
)

// noRequest is the context of measurements that belong to no message: a lease
// lost, a reconnect, the last counts of a consumer that has ended. They have no
// span to point at, and a measurement cannot be cancelled.
var noRequest = context.Background() //nolint:forbidigo // there is no caller whose context it could be

// counters are what happens rarely enough to be counted as it happens.
type counters struct {
	retries     metric.Int64Counter
	retryOpts   [NumClasses][2][]metric.AddOption // by class; broker, held
	deadLetters series[deadLetter]
	extensions  metric.Int64Counter
	base        []metric.AddOption
	losses      series[string]
	reconnects  series[string]
}

type deadLetter struct {
	class     failure.Class
	errorType string
}

// series is a counter with prebuilt options per value of its variable attributes.
type series[K comparable] struct {
	counter metric.Int64Counter
	options *bounded[K, []metric.AddOption]
}

func (s series[K]) add(ctx context.Context, n int64, key K) {
	s.counter.Add(ctx, n, s.options.get(key)...)
}

// limitReasons bounds the reasons of lost leases; there are a handful.
const limitReasons = 16

func newCounters(b *builder, c Config) counters {
	m := counters{
		retries:    b.counter(MetricRetries),
		extensions: b.counter(MetricLeaseExtensions),
		base:       addOptions(c.worker()),
	}
	for i, class := range failure.Classes() {
		for held, mode := range [...]string{modeBroker, modeHeld} {
			m.retryOpts[i][held] = addOptions(append(c.worker(), keyFailureClass.String(string(class)), keyMode.String(mode)))
		}
	}
	m.deadLetters = series[deadLetter]{
		b.counter(MetricDeadLetters),
		newBounded(limitErrorTypes, func(k deadLetter) []metric.AddOption {
			attrs := append(c.worker(), keyFailureClass.String(string(k.class)))
			return addOptions(appendNonEmpty(attrs, semconv.ErrorTypeKey, k.errorType))
		}, func(k deadLetter) deadLetter {
			return deadLetter{knownClass(k.class), collapseErrorType(k.errorType)}
		}),
	}
	m.losses = series[string]{
		b.counter(MetricLeaseLosses),
		newBounded(limitReasons, func(reason string) []metric.AddOption {
			return addOptions(append(c.worker(), keyReason.String(reason)))
		}, func(string) string { return errorTypeOther }),
	}
	m.reconnects = series[string]{
		b.counter(MetricReconnects),
		newBounded(limitErrorTypes, func(errorType string) []metric.AddOption {
			return addOptions(appendNonEmpty(c.worker(), semconv.ErrorTypeKey, errorType))
		}, collapseErrorType),
	}
	return m
}

// Retried counts one retry that was decided for a failure of class; held says
// that it waits in the process rather than at the broker.
func (w *Worker) Retried(class failure.Class, held bool) {
	mode := 0
	if held {
		mode = 1
	}
	w.counters.retries.Add(noRequest, 1, w.counters.retryOpts[ClassIndex(class)][mode]...)
}

// DeadLettered counts one message that the dead-letter queue confirmed.
// errorType is [ErrorType] of the last failure; "" when there was no error.
func (w *Worker) DeadLettered(class failure.Class, errorType string) {
	w.counters.deadLetters.add(noRequest, 1, deadLetter{knownClass(class), errorType})
}

// LeaseExtended counts n leases that the broker extended; n < 1 counts nothing.
func (w *Worker) LeaseExtended(n int) {
	if n > 0 {
		w.counters.extensions.Add(noRequest, int64(n), w.counters.base...)
	}
}

// LeaseLost counts one lease lost. reason is a word out of a small fixed set
// ("expired", "session", "settle"), never an error's text.
func (w *Worker) LeaseLost(reason string) {
	w.counters.losses.add(noRequest, 1, reason)
}

// Reconnected counts one return of a broker that was lost. errType is [ErrorType]
// of what broke the connection.
func (w *Worker) Reconnected(errType string) {
	w.counters.reconnects.add(noRequest, 1, errType)
}
