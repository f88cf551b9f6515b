package rabbit

import (
	"net"
	"strconv"
	"strings"

	"github.com/anyqueue/anyqueue/broker"
)

var (
	_ broker.Placed = (*leased)(nil)
	_ broker.Placer = (*Publisher)(nil)
)

// Place says where a delivery came from. A message that was tried before came
// through a delay queue: its exchange is the default one, and its key the queue.
func (l *leased) Place(d *broker.Delivery) broker.Place {
	return broker.Place{
		Destination: destination(l.native.Exchange, l.native.RoutingKey, d.Source),
		RoutingKey:  l.native.RoutingKey,
		DeliveryTag: l.native.DeliveryTag,
	}
}

// Place says where messages go that are published to a destination.
func (p *Publisher) Place(to string) broker.Place {
	exchange, key, err := route(to)
	if err != nil {
		exchange, key = "", to // Publish refuses it
	}
	return broker.Place{
		Destination: destination(exchange, key),
		RoutingKey:  key,
		Server:      p.out.link.dialer.server(),
	}
}

// destination is a name as OpenTelemetry's conventions have it for RabbitMQ:
// exchange, routing key and, when consuming, queue. The default exchange has no
// name, and routes by the name of the queue.
func destination(parts ...string) string {
	some := parts[:0]
	for _, part := range parts {
		if part != "" && (len(some) == 0 || some[len(some)-1] != part) {
			some = append(some, part)
		}
	}
	return strings.Join(some, ":")
}

// server is the first of the addresses: the one by which people know the broker,
// and which stays the same whichever node answers.
func (d *dialer) server() broker.Server {
	host, port, err := net.SplitHostPort(d.addresses[0])
	if err != nil {
		return broker.Server{Address: d.addresses[0]}
	}
	n, _ := strconv.Atoi(port) // 0 is unknown
	return broker.Server{Address: host, Port: n}
}
