package telemetry

import (
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// Kinds of instruments, as the documentation names them.
const (
	kindHistogram = "histogram"
	kindCounter   = "counter"
	kindUpDown    = "up-down counter"
	kindGauge     = "gauge"
)

// Attributes that many metrics share.
var (
	// attrsOperation are those of an exchange with the broker, as the semantic
	// conventions have it.
	attrsOperation = group{"operation", []attribute.Key{
		semconv.MessagingSystemKey, semconv.MessagingOperationNameKey,
		semconv.MessagingDestinationNameKey, semconv.ServerAddressKey, semconv.ServerPortKey,
	}}
	// attrsWorker name a consumer.
	attrsWorker = group{"worker", []attribute.Key{keyDestination, keyConsumer}}
	// attrsQueue name a queue.
	attrsQueue = group{"queue", []attribute.Key{keyDestination}}
)

type group struct {
	name string
	keys []attribute.Key
}

// definition is one metric. The instruments are made from definitions, and the
// tables in doc.go and docs/telemetry.md are checked against them.
type definition struct {
	name, kind, unit string
	shared           group
	more             []attribute.Key
	description      string
}

// catalog lists every metric, in the order of the documentation.
var catalog = []definition{
	{
		MetricProcessDuration, kindHistogram, "s", attrsOperation, keys(semconv.MessagingConsumerGroupNameKey, semconv.ErrorTypeKey),
		"Duration of processing operation.",
	},
	{
		MetricOperationDuration, kindHistogram, "s", attrsOperation, keys(semconv.MessagingOperationTypeKey, semconv.MessagingConsumerGroupNameKey, semconv.ErrorTypeKey),
		"Duration of messaging operation initiated by a producer or consumer client.",
	},
	{
		MetricSent, kindCounter, "{message}", attrsOperation, keys(semconv.ErrorTypeKey),
		"Number of messages producer attempted to send to the broker.",
	},
	{
		MetricConsumed, kindCounter, "{message}", attrsOperation, keys(semconv.MessagingConsumerGroupNameKey),
		"Number of messages that were delivered to the application.",
	},
	{
		MetricActive, kindUpDown, "{message}", attrsWorker, nil,
		"Messages whose handler is running.",
	},
	{
		MetricBuffered, kindUpDown, "{message}", attrsWorker, nil,
		"Messages received and waiting for a worker.",
	},
	{
		MetricHeld, kindUpDown, "{message}", attrsWorker, nil,
		"Messages held in the process until their next attempt.",
	},
	{
		MetricLimit, kindGauge, "{message}", attrsWorker, nil,
		"How many handlers may run at once.",
	},
	{
		MetricUtilization, kindGauge, "1", attrsWorker, nil,
		"Running handlers divided by the limit.",
	},
	{
		MetricDispatchWait, kindHistogram, "s", attrsWorker, nil,
		"Time from receipt to the start of the handler; sampled.",
	},
	{
		MetricSettlements, kindCounter, "{message}", attrsWorker, keys(keyOutcome, keyFailureClass),
		"Deliveries that came to an end, by outcome.",
	},
	{
		MetricRetries, kindCounter, "{retry}", attrsWorker, keys(keyFailureClass, keyMode),
		"Retries decided, held in the process or through the broker.",
	},
	{
		MetricMessageWait, kindHistogram, "s", attrsWorker, nil,
		"Time from first publication to the first start of a handler; sampled.",
	},
	{
		MetricCompletion, kindHistogram, "s", attrsWorker, keys(keyOutcome),
		"Time from first publication to the final settlement; acks are sampled.",
	},
	{
		MetricDeadLetters, kindCounter, "{message}", attrsWorker, keys(keyFailureClass, semconv.ErrorTypeKey),
		"Messages moved to the dead-letter queue.",
	},
	{
		MetricLeaseExtensions, kindCounter, "{extension}", attrsWorker, nil,
		"Leases extended.",
	},
	{
		MetricLeaseLosses, kindCounter, "{lease}", attrsWorker, keys(keyReason),
		"Leases lost before their delivery was settled.",
	},
	{
		MetricDedupeChecks, kindCounter, "{check}", attrsWorker, keys(keyResult),
		"Claims asked of the idempotency store.",
	},
	{
		MetricStatus, kindUpDown, "{consumer}", attrsWorker, keys(keyState),
		"1 for the state that the consumer is in, 0 for the others.",
	},
	{
		MetricReconnects, kindCounter, "{reconnect}", attrsWorker, keys(semconv.ErrorTypeKey),
		"Times that the consumer lost its broker and came back.",
	},
	{
		MetricQueueMessages, kindGauge, "{message}", attrsQueue, keys(keyState),
		"Messages in the queue as the broker counts them; absent when unknown.",
	},
	{
		MetricQueueOldestAge, kindGauge, "s", attrsQueue, nil,
		"Age of the oldest message that is not settled; absent when unknown.",
	},
	{
		MetricDeadLetterMessages, kindGauge, "{message}", attrsQueue, nil,
		"Messages in the dead-letter queue; absent when unknown.",
	},
}

func keys(k ...attribute.Key) []attribute.Key { return k }
