package telemetry

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/anyqueue/anyqueue/broker"
)

// limitDestinations is how many pairs of destination and error.type the metrics
// of one publisher keep apart. Beyond it they are counted without a destination.
const limitDestinations = 256

// WrapPublisher returns a publisher that traces and measures p. Of c it reads the
// providers, System, ServerAddress, ServerPort, RecordKey, NoCreateSpans and
// Buckets.Operation. The error is as for [NewWorker]. Close closes p.
//
// Every Publish is a span, "publish {to}" or "send {to}" in the system's own
// word, and every message leaves with a creation context in its headers: that of
// this span when it goes alone, that of a create span of its own when several go
// together.
//
// A message that already carries a valid creation context keeps it, with its
// baggage, untouched, and the span is linked to it: a redrive or a forwarded
// message continues the trace in which it was first published. What is there but
// not valid is replaced.
//
// The caller's messages are changed in the two fields that [broker.Prepare] sets,
// as by every publisher. Headers are never written to: a message that is given a
// context travels as a copy.
func WrapPublisher(p broker.Publisher, c Config) (broker.Publisher, error) {
	if p == nil {
		return nil, &broker.FieldError{Field: "Publisher", Problem: "is nil; pass the broker's publisher"}
	}
	c.Destination, c.ConsumerGroup = "", "" // a consumer's
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	b := &builder{meter: c.meter()}
	w := &publisher{next: p, config: c, tracing: newTracing(c), operation: operationsOf(c.System).send}
	w.placer, _ = p.(broker.Placer)
	w.sent = b.counter(MetricSent)
	w.duration = b.histogram(MetricOperationDuration, c.Buckets.Operation)
	w.options = newBounded(limitDestinations, w.buildOptions, func(k sendKey) sendKey {
		return sendKey{errorType: collapseErrorType(k.errorType)}
	})
	if err := b.err(); err != nil {
		return nil, err
	}
	return w, nil
}

type publisher struct {
	next      broker.Publisher
	config    Config
	tracing   *tracing
	placer    broker.Placer // next, if it can say more of a destination than its name
	operation string        // messaging.operation.name of a send

	sent     metric.Int64Counter
	duration metric.Float64Histogram
	options  *bounded[sendKey, sendOptions]
}

type sendKey struct{ to, errorType string }

type sendOptions struct {
	sent     []metric.AddOption
	duration []metric.RecordOption
}

func (p *publisher) buildOptions(k sendKey) sendOptions {
	config, place := p.place(k.to)
	attrs := appendNonEmpty(config.messaging(p.operation, place.Destination), semconv.ErrorTypeKey, k.errorType)
	return sendOptions{
		sent:     addOptions(attrs),
		duration: recordOptions(append(attrs, semconv.MessagingOperationTypeSend)),
	}
}

// place returns what is known of a destination, which always has a name unless to
// is empty, and the configuration with the server's address.
func (p *publisher) place(to string) (Config, broker.Place) {
	if p.placer == nil || to == "" {
		return p.config, broker.Place{Destination: to}
	}
	place := p.placer.Place(to)
	if place.Destination == "" {
		place.Destination = to
	}
	return p.config.at(place.Server), place
}

// Publish implements [broker.Publisher].
func (p *publisher) Publish(ctx context.Context, to string, messages ...*broker.Message) error {
	if len(messages) == 0 {
		return p.next.Publish(ctx, to)
	}
	start := time.Now()
	for _, m := range messages {
		// The span names the message's id, so it must have one now. What is wrong
		// with the message is for the publisher itself to report.
		_ = broker.Prepare(m, start)
	}
	sendCtx, span, traced := p.trace(ctx, to, messages)
	err := p.next.Publish(sendCtx, to, traced...)
	endSend(span, err)
	p.measure(ctx, to, len(messages), time.Since(start), err)
	return err
}

// Close implements [broker.Publisher].
func (p *publisher) Close(ctx context.Context) error { return p.next.Close(ctx) }

// measure counts each message of a call, failed ones by the type of their error.
func (p *publisher) measure(ctx context.Context, to string, n int, took time.Duration, err error) {
	if err == nil {
		opts := p.options.get(sendKey{to: to})
		p.sent.Add(ctx, int64(n), opts.sent...)
		p.duration.Record(ctx, took.Seconds(), opts.duration...)
		return
	}
	p.duration.Record(ctx, took.Seconds(), p.options.get(sendKey{to, ErrorType(err)}).duration...)
	var partial *broker.PublishError
	if !errors.As(err, &partial) {
		p.sent.Add(ctx, int64(n), p.options.get(sendKey{to, ErrorType(err)}).sent...)
		return
	}
	for _, f := range partial.Failed {
		p.sent.Add(ctx, 1, p.options.get(sendKey{to, ErrorType(f.Err)}).sent...)
	}
	if good := n - len(partial.Failed); good > 0 {
		p.sent.Add(ctx, int64(good), p.options.get(sendKey{to: to}).sent...)
	}
}
