package telemetry

import (
	"context"
	"math"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// Worker is one consumer's telemetry: its spans and its metrics. Instruments and
// attributes are made once, in [NewWorker]; a measurement on the hot path
// allocates nothing. All methods are safe for concurrent use.
type Worker struct {
	config  Config
	tracing *tracing

	spanName  string // of a process span, when Config has a destination
	spanAttrs []attribute.KeyValue

	process    durations[string]
	operation  durations[call]
	operations operations
	dispatch   metric.Float64Histogram
	wait       metric.Float64Histogram
	completion metric.Float64Histogram
	base       []metric.RecordOption // destination and consumer
	completed  [broker.Release + 1][]metric.RecordOption

	counters counters
	ledger   ledger
	gauges   gauges
	queue    queueGauges
	meter    metric.Meter
}

// limitErrorTypes is how many values of error.type one metric keeps apart; the
// rest is "_OTHER". Types are few; an error that names itself could be anything.
const limitErrorTypes = 64

// NewWorker makes a consumer's telemetry. The error names every fault in c, as
// joined [*broker.FieldError], or says which instrument the meter refused.
func NewWorker(c Config) (*Worker, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	b := &builder{meter: c.meter()}
	w := &Worker{
		config:     c,
		tracing:    newTracing(c),
		operations: operationsOf(c.System),
		dispatch:   b.histogram(MetricDispatchWait, c.Buckets.Dispatch),
		wait:       b.histogram(MetricMessageWait, c.Buckets.Age),
		completion: b.histogram(MetricCompletion, c.Buckets.Age),
		base:       recordOptions(c.worker()),
		meter:      b.meter,
	}
	w.spanName = operationProcess + " " + c.Destination
	w.spanAttrs = appendNonEmpty(
		append(c.messaging(operationProcess, ""), semconv.MessagingOperationTypeProcess), // each span names its destination
		spanConsumer, c.Consumer,
	)
	w.process = newProcessDurations(b, c)
	w.operation = newOperationDurations(b, c)
	for action := broker.Ack; action <= broker.Release; action++ {
		w.completed[action] = recordOptions(append(c.worker(), keyOutcome.String(action.String())))
	}
	w.counters = newCounters(b, c)
	w.ledger = newLedger(b, c, w.operations)
	w.gauges = newGauges(b, c)
	w.queue = newQueueGauges(b, c)
	if err := b.err(); err != nil {
		return nil, err
	}
	return w, nil
}

// Processed records how long one attempt took: messaging.process.duration. class
// is "" when the attempt did not fail, whatever err says of the reason for which
// a message was dropped or released; else err gives error.type. Call it with the
// handler's context, so that an exemplar finds its span.
func (w *Worker) Processed(ctx context.Context, dur time.Duration, class failure.Class, err error) {
	if class == "" {
		w.process.record(ctx, dur, "")
		return
	}
	w.process.record(ctx, dur, attemptErrorType(class, err))
}

// Unknown is the age of a message whose publication time is not known. It is not
// recorded: unknown is absent, never 0.
const Unknown time.Duration = -1

// Age is how long ago m was first published: [Unknown] when it does not say, 0
// when the publisher's clock is ahead of ours.
func Age(m *broker.Message, now time.Time) time.Duration {
	if m.PublishedAt.IsZero() {
		return Unknown
	}
	return max(now.Sub(m.PublishedAt), 0)
}

// Waits records what a message waited for: dispatch from its receipt to the
// start of the handler, age from its first publication to the first start of a
// handler. Pass [Unknown] for one that shall not be recorded, age for any attempt
// but the first. The caller may sample.
func (w *Worker) Waits(ctx context.Context, dispatch, age time.Duration) {
	recordKnown(ctx, w.dispatch, dispatch, w.base)
	recordKnown(ctx, w.wait, age, w.base)
}

// Completed records the age of a message at its final settlement, ack or dead
// letter.
func (w *Worker) Completed(ctx context.Context, age time.Duration, action broker.Action) {
	if int(action) < len(w.completed) && w.completed[action] != nil {
		recordKnown(ctx, w.completion, age, w.completed[action])
	}
}

// recordKnown leaves out what is unknown: a negative duration, and the largest
// one, which is what time.Since returns for the zero time.
func recordKnown(ctx context.Context, h metric.Float64Histogram, d time.Duration, opts []metric.RecordOption) {
	if d >= 0 && d != math.MaxInt64 {
		h.Record(ctx, d.Seconds(), opts...)
	}
}

// durations is a histogram with prebuilt options per value of its variable
// attributes.
type durations[K comparable] struct {
	histogram metric.Float64Histogram
	options   *bounded[K, []metric.RecordOption]
}

func (m durations[K]) record(ctx context.Context, d time.Duration, key K) {
	m.histogram.Record(ctx, max(d, 0).Seconds(), m.options.get(key)...)
}

// newProcessDurations makes messaging.process.duration, by error.type ("" for
// success).
func newProcessDurations(b *builder, c Config) durations[string] {
	return durations[string]{
		histogram: b.histogram(MetricProcessDuration, c.Buckets.Process),
		options: newBounded(limitErrorTypes, func(errorType string) []metric.RecordOption {
			attrs := c.messaging(operationProcess, c.Destination)
			return recordOptions(appendNonEmpty(attrs, semconv.ErrorTypeKey, errorType))
		}, collapseErrorType),
	}
}

// collapseErrorType keeps success apart from failure when there are too many
// error types.
func collapseErrorType(errorType string) string {
	if errorType == "" {
		return ""
	}
	return errorTypeOther
}

func recordOptions(attrs []attribute.KeyValue) []metric.RecordOption {
	return []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(attrs...))}
}

func addOptions(attrs []attribute.KeyValue) []metric.AddOption {
	return []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(attrs...))}
}

func observeOptions(attrs []attribute.KeyValue) []metric.ObserveOption {
	return []metric.ObserveOption{metric.WithAttributeSet(attribute.NewSet(attrs...))}
}
