package telemetry

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/anyqueue/anyqueue/broker"
)

// Config says where telemetry goes and what it is about. The zero value is
// usable: every zero field means its documented default.
type Config struct {
	// Meter makes the metrics. Default: OpenTelemetry's global provider, also when
	// it is set later.
	Meter metric.MeterProvider
	// Tracer makes the spans. Default: OpenTelemetry's global provider, also when
	// it is set later.
	Tracer trace.TracerProvider
	// Propagator reads and writes the trace context in message headers. Default:
	// OpenTelemetry's global propagator, which does nothing until the program sets
	// one (propagation.TraceContext).
	Propagator propagation.TextMapPropagator

	// System is messaging.system: "rabbitmq", "aws_sqs", "kafka",
	// "anyqueue_memory". Default "_OTHER".
	System string
	// Destination is the queue, topic, or for RabbitMQ "exchange:routing
	// key:queue" without empty or repeated parts. When it is empty spans name the
	// Delivery's Source, and metrics do without. [WrapPublisher] ignores it: there
	// each Publish names its destination.
	Destination string
	// Consumer is the consumer's name. Two workers with the same Destination and
	// Consumer write to the same series. When it is empty the attribute is absent.
	Consumer string
	// ConsumerGroup is messaging.consumer.group.name, for Kafka; absent when empty.
	ConsumerGroup string
	// ServerAddress and ServerPort are the broker's host name and port, server.address
	// and server.port; absent when empty. The runtime and [WrapPublisher] fill them in
	// from what the adapter says unless the address is set.
	ServerAddress string
	ServerPort    int

	// LinkOnly makes every process span the root of a trace of its own that is only
	// linked to the creation context. Default: the process span of a single message
	// is linked to it and its child. Set it where one message has many consumers, or
	// retries go on for days, and traces grow too large.
	LinkOnly bool
	// RecordKey puts the message's key on spans. Off by default: a key can be
	// personal data.
	RecordKey bool
	// NoCreateSpans makes a Publish of several messages write the context of its
	// one span into all of them. Default: each message gets a create span of its
	// own, so that the traces of a batch can be told apart.
	NoCreateSpans bool

	// Buckets are the boundaries of the histograms.
	Buckets Buckets
}

// Buckets are boundaries of histograms in seconds: finite, at least 0, ascending.
// A view of the SDK overrides them. Of several workers on one meter provider the
// first decides.
type Buckets struct {
	// Process is for messaging.process.duration. Default: the boundaries that the
	// semantic conventions advise, 5 ms to 10 s. Set your own where handlers run
	// longer.
	Process []float64
	// Operation is for messaging.client.operation.duration. Default: as Process.
	Operation []float64
	// Dispatch is for anyqueue.worker.dispatch.wait.duration. Default: 100 us to
	// 60 s.
	Dispatch []float64
	// Age is for the two durations that begin at first publication. Default: 5 ms
	// to one day.
	Age []float64
}

var (
	advisedBuckets  = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	dispatchBuckets = []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}
	ageBuckets      = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400}
)

// withDefaults checks c and fills in its defaults.
func (c Config) withDefaults() (Config, error) {
	if err := c.validate(); err != nil {
		return c, err
	}
	if c.Meter == nil {
		c.Meter = otel.GetMeterProvider()
	}
	c.System = cmp.Or(c.System, systemOther)
	c.Buckets = Buckets{
		Process:   bucketsOr(c.Buckets.Process, advisedBuckets),
		Operation: bucketsOr(c.Buckets.Operation, advisedBuckets),
		Dispatch:  bucketsOr(c.Buckets.Dispatch, dispatchBuckets),
		Age:       bucketsOr(c.Buckets.Age, ageBuckets),
	}
	return c, nil
}

// bucketsOr returns a copy, because the SDK may keep what it is given.
func bucketsOr(bounds, def []float64) []float64 {
	if bounds == nil {
		bounds = def
	}
	return slices.Clone(bounds)
}

// validate reports every fault at once.
func (c Config) validate() error {
	return errors.Join(
		checkBuckets("Buckets.Process", c.Buckets.Process),
		checkBuckets("Buckets.Operation", c.Buckets.Operation),
		checkBuckets("Buckets.Dispatch", c.Buckets.Dispatch),
		checkBuckets("Buckets.Age", c.Buckets.Age),
	)
}

func checkBuckets(field string, bounds []float64) error {
	if bounds == nil {
		return nil
	}
	fault := func(problem string) error {
		return &broker.FieldError{Field: field, Value: bounds, Problem: problem}
	}
	if len(bounds) == 0 {
		return fault("must have at least one boundary; leave it nil for the default")
	}
	for i, b := range bounds {
		switch {
		case math.IsNaN(b) || math.IsInf(b, 0) || b < 0:
			return fault("must be finite numbers of seconds, at least 0")
		case i > 0 && b <= bounds[i-1]:
			return fault("must ascend, each boundary greater than the one before; sort them")
		}
	}
	return nil
}

// messaging returns the attributes of the semantic conventions that every
// operation on a destination carries.
func (c Config) messaging(operationName, destination string) []attribute.KeyValue {
	attrs := make([]attribute.KeyValue, 0, 12) // room for what the callers add
	attrs = append(
		attrs,
		semconv.MessagingSystemKey.String(c.System),
		semconv.MessagingOperationName(operationName),
	)
	attrs = appendNonEmpty(attrs, semconv.MessagingDestinationNameKey, destination)
	attrs = appendNonEmpty(attrs, semconv.MessagingConsumerGroupNameKey, c.ConsumerGroup)
	return c.appendServer(attrs)
}

// appendServer appends where the broker is. A port without an address says nothing.
func (c Config) appendServer(attrs []attribute.KeyValue) []attribute.KeyValue {
	if c.ServerAddress == "" {
		return attrs
	}
	attrs = append(attrs, semconv.ServerAddress(c.ServerAddress))
	if c.ServerPort == 0 {
		return attrs
	}
	return append(attrs, semconv.ServerPort(c.ServerPort))
}

// at returns c with the server of an adapter, unless the program has named one.
func (c Config) at(s broker.Server) Config {
	if c.ServerAddress == "" {
		c.ServerAddress, c.ServerPort = s.Address, s.Port
	}
	return c
}

// worker returns the attributes of our own that every metric of a worker carries.
func (c Config) worker() []attribute.KeyValue {
	attrs := make([]attribute.KeyValue, 0, 4)
	attrs = appendNonEmpty(attrs, keyDestination, c.Destination)
	return appendNonEmpty(attrs, keyConsumer, c.Consumer)
}

func appendNonEmpty(attrs []attribute.KeyValue, key attribute.Key, value string) []attribute.KeyValue {
	if value == "" {
		return attrs
	}
	return append(attrs, key.String(value))
}

// meter returns the meter that all instruments are made with.
func (c Config) meter() metric.Meter {
	return c.Meter.Meter(
		ScopeName,
		metric.WithInstrumentationVersion(scopeVersion()),
		metric.WithSchemaURL(semconv.SchemaURL),
	)
}
