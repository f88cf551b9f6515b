package telemetry

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// Span is one attempt at a message or a batch. The zero Span is that of an
// attempt that is not traced; all its methods work and do nothing.
type Span struct{ span trace.Span }

// Process starts the process span of one attempt and returns the context for the
// handler. End the span exactly once, and as soon as the attempt is over: a span
// is never held open across the delay before the next attempt, which has a span
// of its own, linked to the same creation context.
//
// The span is linked to the creation context in the message's headers, and is
// its child unless [Config].LinkOnly is set. A message without one starts a
// trace of its own: ctx's span, if any, belongs to the whole consumer and would
// collect every message of its life. Baggage in the headers comes along in the
// returned context.
//
// While tracing is off, Process returns ctx unchanged and the zero Span, reads no
// headers and allocates nothing. It is safe for concurrent use.
func (w *Worker) Process(ctx context.Context, d *broker.Delivery) (context.Context, Span) {
	if w.tracing.asleep() {
		return ctx, Span{}
	}
	return w.startProcess(ctx, d)
}

func (w *Worker) startProcess(ctx context.Context, d *broker.Delivery) (context.Context, Span) {
	parent, creation := w.tracing.creation(ctx, &d.Headers)
	name, attrs := w.describeProcess(d)
	attrs = appendNonEmpty(attrs, semconv.MessagingMessageIDKey, d.ID)
	attrs = append(attrs, spanAttempt.Int(d.Attempt))
	attrs = w.config.appendKey(attrs, d.Message)
	opts := append(make([]trace.SpanStartOption, 0, 4), kindConsumer, trace.WithAttributes(attrs...))
	if creation.IsValid() {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: creation}))
	}
	if w.config.LinkOnly || !creation.IsValid() {
		opts = append(opts, newRoot)
	}
	spanCtx, span := w.tracing.start(parent, name, opts...)
	if span == nil {
		return ctx, Span{}
	}
	return spanCtx, Span{span}
}

// ProcessBatch is Process for a batch: one span that starts a trace of its own,
// linked to the creation context of every message that has one. It is never a
// child, whatever the size of the batch. Baggage is not read: the messages may
// contradict each other. The batch must not be empty.
func (w *Worker) ProcessBatch(ctx context.Context, batch []*broker.Delivery) (context.Context, Span) {
	if w.tracing.asleep() {
		return ctx, Span{}
	}
	links := make([]trace.Link, 0, len(batch))
	for _, d := range batch {
		if _, creation := w.tracing.creation(ctx, &d.Headers); creation.IsValid() {
			links = append(links, messageLink(creation, d.ID))
		}
	}
	name, attrs := w.describeQueue(batch[0].Source)
	attrs = append(attrs, semconv.MessagingBatchMessageCount(len(batch)))
	spanCtx, span := w.tracing.start(
		ctx, name, kindConsumer, newRoot, trace.WithAttributes(attrs...), trace.WithLinks(links...),
	)
	if span == nil {
		return ctx, Span{}
	}
	return spanCtx, Span{span}
}

// Options of every process span, made once.
var (
	kindConsumer = trace.WithSpanKind(trace.SpanKindConsumer)
	newRoot      = trace.WithNewRoot()
)

// describeProcess returns the name of the process span of one delivery and a new
// slice with its attributes, with room for those of the message.
func (w *Worker) describeProcess(d *broker.Delivery) (string, []attribute.KeyValue) {
	ref, ok := d.Ref.(broker.Placed)
	if !ok {
		return w.describeQueue(d.Source)
	}
	place := ref.Place(d)
	name, attrs := w.describe(place.Destination, d.Source)
	attrs = appendNonEmpty(attrs, semconv.MessagingRabbitMQDestinationRoutingKeyKey, place.RoutingKey)
	if place.DeliveryTag != 0 {
		attrs = append(attrs, semconv.MessagingRabbitMQMessageDeliveryTagKey.Int64(int64(place.DeliveryTag))) //nolint:gosec // counts up from 1
	}
	return name, attrs
}

// describeQueue is describeProcess where nothing but the queue's name is known, or
// where it is all that the messages of a batch have in common.
func (w *Worker) describeQueue(source string) (string, []attribute.KeyValue) {
	return w.describe("", source)
}

// describe names a destination: as the adapter does, else as Config does, else by
// the source of the delivery.
func (w *Worker) describe(destination, source string) (string, []attribute.KeyValue) {
	name := w.spanName
	if destination == "" {
		destination = w.config.Destination
	}
	if destination == "" {
		destination = source
	}
	if destination != w.config.Destination {
		name = operationProcess + " " + destination
	}
	attrs := make([]attribute.KeyValue, len(w.spanAttrs), len(w.spanAttrs)+6) // destination, routing key, tag, id, attempt, key
	copy(attrs, w.spanAttrs)
	return name, appendNonEmpty(attrs, semconv.MessagingDestinationNameKey, destination)
}

// messageLink is a link to the creation context of one message out of several.
func messageLink(creation trace.SpanContext, id string) trace.Link {
	return trace.Link{
		SpanContext: creation,
		Attributes:  []attribute.KeyValue{semconv.MessagingMessageID(id)},
	}
}

// appendKey appends the message's key, where keys may be recorded.
func (c Config) appendKey(attrs []attribute.KeyValue, m *broker.Message) []attribute.KeyValue {
	switch {
	case !c.RecordKey:
		return attrs
	case c.System == "kafka":
		return appendNonEmpty(attrs, semconv.MessagingKafkaMessageKeyKey, m.Key)
	default:
		return appendNonEmpty(attrs, spanKey, m.Key)
	}
}

// End ends the span. outcome is one of the Outcome constants, class the class of
// the failure, "" when the attempt did not fail, and err what the handler
// returned.
//
// The span's status is an error, with error.type, when there is a class or the
// lease was lost. An err without a class is the reason why a handler dropped or
// released its message on purpose, which is no failure. The description is the
// first line of err, clipped; a panic's stack stays off the span.
func (s Span) End(outcome string, class failure.Class, err error) {
	if s.span == nil {
		return
	}
	if s.span.IsRecording() {
		attrs := appendNonEmpty(make([]attribute.KeyValue, 0, 3), spanOutcome, outcome)
		attrs = appendNonEmpty(attrs, spanFailureClass, string(class))
		if class != "" || outcome == OutcomeLost {
			attrs = append(attrs, semconv.ErrorTypeKey.String(attemptErrorType(class, err)))
			s.span.SetStatus(codes.Error, describe(err))
		}
		s.span.SetAttributes(attrs...)
	}
	s.span.End()
}

// TraceID returns the trace's id in hexadecimal, for logs and failure records;
// "" for the zero Span.
func (s Span) TraceID() string {
	if s.span == nil || !s.span.SpanContext().HasTraceID() {
		return ""
	}
	return s.span.SpanContext().TraceID().String()
}

// attemptErrorType is error.type of a failed attempt. The runtime ends some
// attempts without an error of the handler's; then it is the class.
func attemptErrorType(class failure.Class, err error) string {
	if err == nil && class != "" {
		return string(class)
	}
	return ErrorType(err)
}

// maxDescription bounds a span's status description in bytes.
const maxDescription = 256

// describe is called with errors of the handler's, whose methods may panic.
func describe(err error) (text string) {
	if err == nil {
		return ""
	}
	defer func() {
		if recover() != nil {
			text = ""
		}
	}()
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.ToValidUTF8(line[:min(len(line), maxDescription)], "")
}
