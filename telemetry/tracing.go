package telemetry

import (
	"context"
	"math/rand/v2"
	"reflect"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/anyqueue/anyqueue/broker"
)

// tracing starts spans, and knows cheaply when nobody would receive them.
//
// The trace API has no question for that, and starting a span just to see it
// come to nothing costs a hundred times what a program without tracing should
// pay. So the first span is started in earnest; when it comes to nothing, tracing
// is dormant until something suggests otherwise: the global provider was
// replaced (how SDKs are installed, and what delegating tracers follow), or one
// message in wakeEvery tries again (a tracer that woke up by itself, such as one
// that eBPF attached to).
type tracing struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator // nil: the global one of the moment

	// dormant is the global provider at which the last span came to nothing; nil
	// while spans are real.
	dormant atomic.Pointer[trace.TracerProvider]
}

// wakeEvery is how many messages it takes on average until dormant tracing is
// tried again. At this rate the trials cost less than 1 ns per message.
const wakeEvery = 4096

func newTracing(c Config) *tracing {
	provider := c.Tracer
	if provider == nil {
		provider = otel.GetTracerProvider()
	}
	return &tracing{
		tracer: provider.Tracer(
			ScopeName,
			trace.WithInstrumentationVersion(scopeVersion()),
			trace.WithSchemaURL(semconv.SchemaURL),
		),
		propagator: c.Propagator,
	}
}

// asleep says that a span is not worth starting.
func (t *tracing) asleep() bool {
	at := t.dormant.Load()
	return at != nil && *at == otel.GetTracerProvider() && rand.Uint32()%wakeEvery != 0
}

// start starts a span. When it comes to nothing, start returns ctx itself, nil,
// and tracing is dormant.
func (t *tracing) start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	// Read before Start: a provider installed in between must not be taken for
	// the one at which the span came to nothing.
	global := otel.GetTracerProvider()
	spanCtx, span := t.tracer.Start(ctx, name, opts...)
	if isReal(span, trace.SpanContextFromContext(ctx)) {
		if t.dormant.Load() != nil {
			t.dormant.Store(nil)
		}
		return spanCtx, span
	}
	if !reflect.ValueOf(&global).Elem().Comparable() {
		global = nil // asleep must not panic; it will find that this never matches
	}
	t.dormant.Store(&global)
	return ctx, nil
}

// isReal tells a span that somebody made from what a no-op tracer returns: its
// parent's context again, or nothing. A span that was not sampled is real: it
// has an id of its own, which is propagated.
func isReal(span trace.Span, parent trace.SpanContext) bool {
	sc := span.SpanContext()
	return span.IsRecording() || sc.IsValid() && sc.SpanID() != parent.SpanID()
}

func (t *tracing) propagation() propagation.TextMapPropagator {
	if t.propagator != nil {
		return t.propagator
	}
	// Asked each time: the global one that existed before the program set its own
	// takes a mutex in every call.
	return otel.GetTextMapPropagator()
}

// creation reads the creation context of a message: the context of the span that
// published it first. It returns ctx with all that the propagator found, and the
// span context, invalid when there is none.
func (t *tracing) creation(ctx context.Context, h *broker.Headers) (context.Context, trace.SpanContext) {
	found := t.propagation().Extract(ctx, Carrier{Headers: h})
	sc := trace.SpanContextFromContext(found)
	if !sc.IsRemote() || sc.Equal(trace.SpanContextFromContext(ctx)) {
		return found, trace.SpanContext{} // ctx's own
	}
	return found, sc
}
