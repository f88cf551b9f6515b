package telemetry

import (
	"context"
	"slices"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/anyqueue/anyqueue/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a worker with an SDK on both sides that keeps what it got.
type lab struct {
	reader *sdkmetric.ManualReader
	spans  *tracetest.SpanRecorder
	config Config
}

func newLab() *lab {
	l := &lab{reader: sdkmetric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	l.config = Config{
		Meter:      sdkmetric.NewMeterProvider(sdkmetric.WithReader(l.reader)),
		Tracer:     sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(l.spans)),
		Propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
		System:     "rabbitmq", Destination: "orders", Consumer: "billing",
		ServerAddress: "mq.example", ServerPort: 5672,
	}
	return l
}

func (l *lab) worker(t *testing.T) *Worker {
	t.Helper()
	w, err := NewWorker(l.config)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (l *lab) publisher(t *testing.T, next broker.Publisher) broker.Publisher {
	t.Helper()
	p, err := WrapPublisher(next, l.config)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// span returns the one recorded span called name.
func (l *lab) span(t *testing.T, name string) sdktrace.ReadOnlySpan {
	t.Helper()
	var found []sdktrace.ReadOnlySpan
	for _, s := range l.spans.Ended() {
		if s.Name() == name {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans are called %q, want 1; all: %v", len(found), name, names(l.spans.Ended()))
	}
	return found[0]
}

func names(spans []sdktrace.ReadOnlySpan) (n []string) {
	for _, s := range spans {
		n = append(n, s.Name())
	}
	return n
}

func spanAttr(s sdktrace.ReadOnlySpan, key attribute.Key) string {
	for _, a := range s.Attributes() {
		if a.Key == key {
			return a.Value.String()
		}
	}
	return ""
}

// wantLinks checks to which spans s is linked, in order.
func wantLinks(t *testing.T, s sdktrace.ReadOnlySpan, want ...trace.SpanContext) {
	t.Helper()
	var got, ids []trace.SpanID
	for _, l := range s.Links() {
		got = append(got, l.SpanContext.SpanID())
	}
	for _, sc := range want {
		ids = append(ids, sc.SpanID())
	}
	if !slices.Equal(got, ids) {
		t.Errorf("span %q is linked to %v, want %v", s.Name(), got, ids)
	}
}

// collect returns all metrics by name.
func (l *lab) collect(t *testing.T) map[string]metricdata.Metrics {
	t.Helper()
	return collect(t, l.reader)
}

func collect(t *testing.T, r *sdkmetric.ManualReader) map[string]metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := r.Collect(context.WithoutCancel(t.Context()), &all); err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]metricdata.Metrics)
	for _, scope := range all.ScopeMetrics {
		if scope.Scope.Name != ScopeName {
			t.Errorf("metrics of scope %q", scope.Scope.Name)
		}
		for _, m := range scope.Metrics {
			if _, ok := byName[m.Name]; ok {
				t.Errorf("metric %s exists twice", m.Name)
			}
			byName[m.Name] = m
		}
	}
	return byName
}

// point is one series of a metric: a sum's or gauge's value, a histogram's sum
// and count.
type point struct {
	attrs  attribute.Set
	value  float64
	count  uint64
	bounds []float64
}

func points(m metricdata.Metrics) (p []point) {
	switch d := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, x := range d.DataPoints {
			p = append(p, point{attrs: x.Attributes, value: float64(x.Value)})
		}
	case metricdata.Gauge[int64]:
		for _, x := range d.DataPoints {
			p = append(p, point{attrs: x.Attributes, value: float64(x.Value)})
		}
	case metricdata.Gauge[float64]:
		for _, x := range d.DataPoints {
			p = append(p, point{attrs: x.Attributes, value: x.Value})
		}
	case metricdata.Histogram[float64]:
		for _, x := range d.DataPoints {
			p = append(p, point{attrs: x.Attributes, value: x.Sum, count: x.Count, bounds: x.Bounds})
		}
	}
	return p
}

// find returns the points of a metric that have all the attributes, given as
// key, value, key, value.
func find(all map[string]metricdata.Metrics, name string, attrs ...string) (found []point) {
	for _, p := range points(all[name]) {
		ok := true
		for i := 0; i < len(attrs); i += 2 {
			v, has := p.attrs.Value(attribute.Key(attrs[i]))
			ok = ok && has && v.String() == attrs[i+1]
		}
		if ok {
			found = append(found, p)
		}
	}
	return found
}

// wantValue checks that exactly one series has the attributes, and its value.
func wantValue(t *testing.T, all map[string]metricdata.Metrics, name string, want float64, attrs ...string) {
	t.Helper()
	found := find(all, name, attrs...)
	if len(found) != 1 || found[0].value != want {
		t.Errorf("%s%v = %v, want one series of %v", name, attrs, found, want)
	}
}

func wantAbsent(t *testing.T, all map[string]metricdata.Metrics, name string, attrs ...string) {
	t.Helper()
	if found := find(all, name, attrs...); len(found) > 0 {
		t.Errorf("%s%v = %v, want no series", name, attrs, found)
	}
}

func total(all map[string]metricdata.Metrics, name string, attrs ...string) (sum float64) {
	for _, p := range find(all, name, attrs...) {
		sum += p.value
	}
	return sum
}

// placed is the Ref of an adapter that knows more of a delivery than its queue.
type placed struct{ place broker.Place }

func (p placed) Place(*broker.Delivery) broker.Place { return p.place }

// placer is a publisher that knows more of a destination than its name.
type placer struct {
	broker.Publisher
	place broker.Place
}

func (p placer) Place(string) broker.Place { return p.place }

func delivery(m *broker.Message) *broker.Delivery {
	return &broker.Delivery{Message: m, Source: "orders", Attempt: 1}
}
