package telemetry

import (
	"context"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/anyqueue/anyqueue/broker"
)

// With tracing off Process returns the very context it was given and a Span that
// does nothing, and neither allocates.
func TestProcessWithTracingOffCostsNothing(t *testing.T) {
	l := newLab()
	l.config.Tracer = noop.NewTracerProvider()
	w, ctx := l.worker(t), t.Context()
	d := delivery(message(carried))
	batch := []*broker.Delivery{d}
	for range 3 { // the first finds out
		for _, process := range []func() (context.Context, Span){
			func() (context.Context, Span) { return w.Process(ctx, d) },
			func() (context.Context, Span) { return w.ProcessBatch(ctx, batch) },
		} {
			got, span := process()
			if got != ctx || span != (Span{}) || span.TraceID() != "" {
				t.Fatalf("context changed: %v, span %v", got != ctx, span)
			}
			span.End(OutcomeAck, "", nil)
		}
	}
	// A trial once in wakeEvery messages may allocate; it must not show.
	if n := testing.AllocsPerRun(1000, func() {
		_, span := w.Process(ctx, d)
		span.End(OutcomeAck, "", nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A span that is sampled out is real: its context is propagated, so that what
// the handler publishes is sampled out as well.
func TestSampledOutSpanIsPropagated(t *testing.T) {
	l, next := newLab(), &fakePublisher{}
	l.config.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))
	w, p := l.worker(t), l.publisher(t, next)
	for range 3 {
		ctx, span := w.Process(t.Context(), delivery(message(carried)))
		if span.TraceID() != creationOf(message(carried)).TraceID().String() {
			t.Fatalf("trace id %q", span.TraceID())
		}
		if err := p.Publish(ctx, "next", &broker.Message{}); err != nil {
			t.Fatal(err)
		}
		if got := creationOf(next.got[0]); got.IsSampled() || got.TraceID().String() != span.TraceID() {
			t.Errorf("the handler's message carries %v", got)
		}
		span.End(OutcomeAck, "", nil)
	}
}

// inFreshProcess runs the test that calls it in a process of its own, where
// nobody has touched OpenTelemetry's global state, and says whether this is it.
// The initial global provider can be replaced once per process.
func inFreshProcess(t *testing.T) bool {
	t.Helper()
	const env = "ANYQUEUE_TELEMETRY_FRESH"
	if os.Getenv(env) != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), env+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// Global providers may be installed after the worker was made and has found
// tracing off: the next message is traced, whether the worker was given no
// provider or the global one of its time.
func TestTracingWakesWhenAnSDKIsInstalled(t *testing.T) {
	if !inFreshProcess(t) {
		return
	}
	initial := otel.GetTracerProvider()
	var workers []*Worker
	for _, provider := range []trace.TracerProvider{nil, initial} {
		l := newLab()
		l.config.Tracer, l.config.Propagator = provider, nil
		w := l.worker(t)
		for range 3 {
			if _, span := w.Process(t.Context(), delivery(message(carried))); span != (Span{}) {
				t.Fatal("a span before there is an SDK")
			}
		}
		workers = append(workers, w)
	}
	spans := tracetest.NewSpanRecorder()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)))
	otel.SetTextMapPropagator(propagation.TraceContext{})
	for i, w := range workers {
		_, span := w.Process(t.Context(), delivery(message(carried)))
		span.End(OutcomeAck, "", nil)
		if len(spans.Ended()) != i+1 || spans.Ended()[i].Parent().SpanID() != creationOf(message(carried)).SpanID() {
			t.Fatalf("worker %d: spans %v", i, names(spans.Ended()))
		}
	}
}

// sleeper is a provider that becomes real by itself, unseen by the global one.
// Its type cannot be compared.
type sleeper struct {
	embedded.TracerProvider
	awake *atomic.Bool
	real  []trace.TracerProvider
}

func (s sleeper) Tracer(name string, opts ...trace.TracerOption) trace.Tracer {
	return sleepingTracer{awake: s.awake, real: s.real[0].Tracer(name, opts...)}
}

type sleepingTracer struct {
	embedded.Tracer
	awake *atomic.Bool
	real  trace.Tracer
}

func (s sleepingTracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	if s.awake.Load() {
		return s.real.Start(ctx, name, opts...)
	}
	return noop.Tracer{}.Start(ctx, name, opts...)
}

// A tracer that becomes real without any sign is found out within some messages,
// and stays found.
func TestTracingWakesByItself(t *testing.T) {
	l := newLab()
	s := sleeper{awake: new(atomic.Bool), real: []trace.TracerProvider{l.config.Tracer}}
	l.config.Tracer = s
	w := l.worker(t)
	d := delivery(message())
	w.Process(t.Context(), d)
	s.awake.Store(true)
	const bound = 50 * wakeEvery // missed by chance once in e^50 runs
	n := 0
	for ; n < bound && len(l.spans.Started()) == 0; n++ {
		w.Process(t.Context(), d)
	}
	if n == bound {
		t.Fatalf("asleep after %d messages", n)
	}
	for range 10 {
		if _, span := w.Process(t.Context(), d); span == (Span{}) {
			t.Fatal("asleep again")
		}
	}
}

// A global provider of a type that cannot be compared does no harm.
func TestUncomparableGlobalProviderIsNoPanic(t *testing.T) {
	if !inFreshProcess(t) {
		return
	}
	l := newLab()
	otel.SetTracerProvider(sleeper{awake: new(atomic.Bool), real: []trace.TracerProvider{l.config.Tracer}})
	l.config.Tracer = nil
	w := l.worker(t)
	for range 3 {
		if ctx, span := w.Process(t.Context(), delivery(message())); ctx != t.Context() || span != (Span{}) {
			t.Error("a span without a tracer")
		}
	}
}
