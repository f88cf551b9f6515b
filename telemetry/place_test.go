package telemetry

import (
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// wantAttrs checks attributes of a span, given as key, value, key, value; "" is an
// attribute that must not be there.
func wantAttrs(t *testing.T, s sdktrace.ReadOnlySpan, attrs ...string) {
	t.Helper()
	for i := 0; i < len(attrs); i += 2 {
		if got := spanAttr(s, attribute.Key(attrs[i])); got != attrs[i+1] {
			t.Errorf("span %q has %s = %q, want %q", s.Name(), attrs[i], got, attrs[i+1])
		}
	}
}

// The span of a delivery tells what its adapter knows of its way: the whole name of
// the destination, also in the span's name, the routing key and the delivery tag.
func TestProcessSpanTellsTheDeliverysWay(t *testing.T) {
	l := newLab()
	w := l.worker(t)
	d := delivery(message())
	d.Ref = placed{broker.Place{Destination: "shop:order.paid:orders", RoutingKey: "order.paid", DeliveryTag: 7}}
	_, span := w.Process(t.Context(), d)
	span.End(OutcomeAck, "", nil)
	wantAttrs(
		t, l.span(t, "process shop:order.paid:orders"),
		"messaging.destination.name", "shop:order.paid:orders", "messaging.rabbitmq.destination.routing_key", "order.paid",
		"messaging.rabbitmq.message.delivery_tag", "7", "server.address", "mq.example", "server.port", "5672",
	)

	d.Ref = placed{} // knows nothing
	_, span = w.Process(t.Context(), d)
	span.End(OutcomeAck, "", nil)
	wantAttrs(
		t, l.span(t, "process orders"),
		"messaging.destination.name", "orders", "messaging.rabbitmq.destination.routing_key", "", "messaging.rabbitmq.message.delivery_tag", "",
	)
}

// A batch has come different ways: its span names the queue, which all have in
// common.
func TestBatchSpanNamesTheQueueAlone(t *testing.T) {
	l := newLab()
	d := delivery(message())
	d.Ref = placed{broker.Place{Destination: "shop:order.paid:orders", RoutingKey: "order.paid", DeliveryTag: 7}}
	_, span := l.worker(t).ProcessBatch(t.Context(), []*broker.Delivery{d, d})
	span.End(OutcomeRetry, failure.ClassBug, nil)
	wantAttrs(
		t, l.span(t, "process orders"),
		"messaging.destination.name", "orders", "messaging.rabbitmq.destination.routing_key", "", "messaging.rabbitmq.message.delivery_tag", "",
	)
}

// A publisher that knows its server and the parts of a destination has them on its
// spans and metrics; what the program has set counts more.
func TestPublisherTellsItsServerAndTheWay(t *testing.T) {
	way := placer{&fakePublisher{}, broker.Place{
		Destination: "shop:order.paid", RoutingKey: "order.paid", Server: broker.Server{Address: "rabbit.example", Port: 5671},
	}}
	l := newLab()
	l.config.ServerAddress, l.config.ServerPort = "", 0
	if err := l.publisher(t, way).Publish(t.Context(), "exchange:shop/order.paid", message()); err != nil {
		t.Fatal(err)
	}
	wantAttrs(
		t, l.span(t, "publish shop:order.paid"),
		"messaging.destination.name", "shop:order.paid", "messaging.rabbitmq.destination.routing_key", "order.paid",
		"server.address", "rabbit.example", "server.port", "5671",
	)
	wantValue(
		t, l.collect(t), MetricSent, 1,
		"messaging.destination.name", "shop:order.paid", "server.address", "rabbit.example", "server.port", "5671",
	)

	l = newLab()
	if err := l.publisher(t, way).Publish(t.Context(), "exchange:shop/order.paid", message()); err != nil {
		t.Fatal(err)
	}
	wantAttrs(t, l.span(t, "publish shop:order.paid"), "server.address", "mq.example", "server.port", "5672")
}

// While tracing is off nobody is asked for the way, and nothing is allocated.
func TestWayIsNotAskedForWhileTracingIsOff(t *testing.T) {
	w, err := NewWorker(Config{System: "rabbitmq", Destination: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	d := delivery(message())
	_, _ = w.Process(t.Context(), d) // finds that tracing is off
	asked := 0
	d.Ref = countingRef{&asked}
	const attempts = 1000 // one in wakeEvery looks whether tracing is on by now
	if n := testing.AllocsPerRun(attempts, func() {
		_, span := w.Process(t.Context(), d)
		span.End(OutcomeAck, "", nil)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if asked > attempts/100 {
		t.Errorf("asked %d times", asked)
	}
}

type countingRef struct{ n *int }

func (c countingRef) Place(*broker.Delivery) broker.Place {
	*c.n++
	return broker.Place{}
}
