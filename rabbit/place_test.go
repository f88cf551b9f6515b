package rabbit

import (
	"log/slog"
	"testing"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/internal/faultlab"
)

// A destination is named by exchange, routing key and queue, without parts that are
// empty or said already.
func TestDestinationHasNoEmptyOrRepeatedParts(t *testing.T) {
	for want, parts := range map[string][3]string{
		"orders":                 {"", "orders", "orders"},
		"shop:order.paid:orders": {"shop", "order.paid", "orders"},
		"shop:orders":            {"shop", "orders", "orders"},
		"shop:news":              {"shop", "", "news"},
		"":                       {},
	} {
		if got := destination(parts[0], parts[1], parts[2]); got != want {
			t.Errorf("%q becomes %q, want %q", parts, got, want)
		}
	}
}

// The server is told by its first address, as it is configured, without a connection
// and without credentials.
func TestServerIsTheFirstAddress(t *testing.T) {
	for url, want := range map[string]broker.Server{
		"amqp://u:p@mq.example/":           {Address: "mq.example", Port: 5672},
		"amqps://u:p@mq.example/":          {Address: "mq.example", Port: 5671},
		"amqp://u:p@[2001:db8::1]:5673/v1": {Address: "2001:db8::1", Port: 5673},
	} {
		d, err := newDialer(&Settings{URL: broker.NewSecret(url), Addresses: []string{"other.example:5672"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := d.server(); got != want {
			t.Errorf("%s: %+v, want %+v", url, got, want)
		}
	}
}

// Adapter and server agree: what came through an exchange tells its whole way, what was
// published to the queue is named by the queue, and so is a retry.
func TestDeliveryTellsItsWay(t *testing.T) {
	server := faultlab.Need(t, "ANYQUEUE_RABBITMQ_URL")
	name, exchange := unique("way"), "amq.topic"
	settings := Settings{
		URL: broker.NewSecret(server), Logger: slog.New(slog.DiscardHandler),
		Bindings: []Binding{{Exchange: exchange, RoutingKeys: []string{name + ".#"}}},
	}
	intent := broker.Intent{MaxAttempts: 3}
	makeQueues(t, server, settings, name, intent)
	end, err := Open(t.Context(), settings, name, intent)
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, end.Subscription.Close)
	defer closeNow(t, end.Publisher.Close)

	key := name + ".paid"
	publisher := end.Publisher.(*Publisher)
	if got := publisher.Place(To(exchange, key)); got.Destination != exchange+":"+key || got.RoutingKey != key || got.Server.Port == 0 {
		t.Errorf("publishing to an exchange: %+v", got)
	}
	if got := publisher.Place(name); got.Destination != name || got.RoutingKey != name {
		t.Errorf("publishing to a queue: %+v", got)
	}
	for i, to := range []string{To(exchange, key), name} {
		if err := publisher.Publish(t.Context(), to, &broker.Message{ID: to}); err != nil {
			t.Fatal(err)
		}
		ds, err := end.Subscription.Receive(t.Context(), broker.Credit{Messages: 1, Bytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		d := &ds[0]
		want := broker.Place{Destination: exchange + ":" + key + ":" + name, RoutingKey: key, DeliveryTag: uint64(i + 1)}
		if i == 1 {
			want.Destination, want.RoutingKey = name, name
		}
		if got := d.Ref.(broker.Placed).Place(d); got != want {
			t.Errorf("delivery of %s: %+v, want %+v", to, got, want)
		}
		if err := end.Subscription.Settle(t.Context(), []broker.Settlement{{Delivery: d, Action: broker.Ack}}); err != nil {
			t.Fatal(err)
		}
	}
}
