package telemetry

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/anyqueue/anyqueue/broker"
)

// trace starts the span of one Publish and gives every message a creation
// context. It returns the context to publish with, the span (nil when tracing is
// off) and the messages to publish. With tracing off a context that came from
// elsewhere is still passed on to the messages.
func (p *publisher) trace(ctx context.Context, to string, messages []*broker.Message) (context.Context, trace.Span, []*broker.Message) {
	out := &outbox{messages: messages, propagator: p.tracing.propagation()}
	if p.tracing.asleep() {
		for i, m := range messages {
			if !p.carriesContext(ctx, m) {
				out.inject(ctx, i)
			}
		}
		return ctx, nil, out.messages
	}

	links := make([]trace.Link, 0, len(messages))
	fresh := make([]int, 0, len(messages)) // those without a creation context
	for i, m := range messages {
		if m == nil {
			continue // the publisher's to refuse
		}
		if _, creation := p.tracing.creation(ctx, &m.Headers); creation.IsValid() {
			links = append(links, p.link(creation, m, len(messages)))
		} else {
			fresh = append(fresh, i)
		}
	}
	kind := trace.SpanKindClient // unless its context goes into a message
	switch {
	case len(messages) > 1 && !p.config.NoCreateSpans:
		for _, i := range fresh {
			if creation := p.create(ctx, to, messages[i], out, i); creation.IsValid() {
				links = append(links, p.link(creation, messages[i], len(messages)))
			}
		}
		fresh = nil
	case len(fresh) > 0:
		kind = trace.SpanKindProducer
	}
	sendCtx, span := p.startSend(ctx, to, messages, kind, links)
	for _, i := range fresh {
		out.inject(sendCtx, i)
	}
	return sendCtx, span, out.messages
}

// carriesContext says that m needs no context: it has one, or is no message.
func (p *publisher) carriesContext(ctx context.Context, m *broker.Message) bool {
	if m == nil {
		return true
	}
	_, creation := p.tracing.creation(ctx, &m.Headers)
	return creation.IsValid()
}

func (p *publisher) link(creation trace.SpanContext, m *broker.Message, of int) trace.Link {
	if of == 1 {
		return trace.Link{SpanContext: creation}
	}
	return messageLink(creation, m.ID)
}

// create makes the create span of one message of several and injects its
// context. The span is over at once: creating is what it describes.
func (p *publisher) create(ctx context.Context, to string, m *broker.Message, out *outbox, i int) trace.SpanContext {
	destination, attrs := p.describe(operationCreate, to)
	attrs = append(attrs, semconv.MessagingOperationTypeCreate, semconv.MessagingMessageID(m.ID))
	createCtx, span := p.tracing.start(
		ctx, operationCreate+" "+destination,
		trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(p.config.appendKey(attrs, m)...),
	)
	out.inject(createCtx, i)
	if span == nil {
		return trace.SpanContext{}
	}
	span.End()
	return span.SpanContext()
}

func (p *publisher) startSend(
	ctx context.Context, to string, messages []*broker.Message, kind trace.SpanKind, links []trace.Link,
) (context.Context, trace.Span) {
	destination, attrs := p.describe(p.operation, to)
	attrs = append(attrs, semconv.MessagingOperationTypeSend)
	if m := messages[0]; len(messages) > 1 {
		attrs = append(attrs, semconv.MessagingBatchMessageCount(len(messages)))
	} else if m != nil {
		attrs = p.config.appendKey(append(attrs, semconv.MessagingMessageID(m.ID)), m)
	}
	return p.tracing.start(
		ctx, p.operation+" "+destination,
		trace.WithSpanKind(kind), trace.WithAttributes(attrs...), trace.WithLinks(links...),
	)
}

// describe returns the name of a destination and the attributes of every span for it.
func (p *publisher) describe(operation, to string) (string, []attribute.KeyValue) {
	config, place := p.place(to)
	attrs := config.messaging(operation, place.Destination)
	return place.Destination, appendNonEmpty(attrs, semconv.MessagingRabbitMQDestinationRoutingKeyKey, place.RoutingKey)
}

func endSend(span trace.Span, err error) {
	if span == nil {
		return
	}
	if err != nil && span.IsRecording() {
		span.SetAttributes(semconv.ErrorTypeKey.String(ErrorType(err)))
		span.SetStatus(codes.Error, describe(err))
	}
	span.End()
}

// outbox is what is published: the caller's messages until the first is given a
// context, then a slice of our own in which those are replaced by copies.
type outbox struct {
	messages   []*broker.Message
	cloned     bool
	propagator propagation.TextMapPropagator
	writer     headerWriter // used again for each message
}

func (o *outbox) inject(ctx context.Context, i int) {
	m, w := o.messages[i], &o.writer
	*w = headerWriter{headers: m.Headers}
	o.propagator.Inject(ctx, w)
	if !w.cloned {
		return
	}
	if w.parent && !w.state {
		w.headers.Del(headerTraceState) // of the context that was not valid
	}
	c := *m
	c.Headers = w.headers
	if !o.cloned {
		o.messages, o.cloned = slices.Clone(o.messages), true
	}
	o.messages[i] = &c
}

// Names of the W3C trace context.
const (
	headerTraceParent = "traceparent"
	headerTraceState  = "tracestate"
)

// headerWriter is a [Carrier] that copies the headers before it changes them.
type headerWriter struct {
	headers broker.Headers
	cloned  bool
	parent  bool // traceparent was set
	state   bool // tracestate was set
}

// Get implements [propagation.TextMapCarrier].
func (w *headerWriter) Get(key string) string { return w.headers.Get(key) }

// Keys implements [propagation.TextMapCarrier].
func (w *headerWriter) Keys() []string { return Carrier{&w.headers}.Keys() }

// Set implements [propagation.TextMapCarrier].
func (w *headerWriter) Set(key, value string) {
	if !w.cloned {
		// Room for traceparent, tracestate and baggage.
		w.headers = append(make(broker.Headers, 0, len(w.headers)+3), w.headers...)
		w.cloned = true
	}
	w.headers.Set(key, value)
	w.parent = w.parent || key == headerTraceParent
	w.state = w.state || key == headerTraceState
}
