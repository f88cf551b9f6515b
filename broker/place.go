package broker

// Server is where a broker is reached, as the configuration names it; with several
// addresses the first. An empty Address is unknown or has no meaning.
type Server struct {
	Address string // host name or IP address
	Port    int    // 0: unknown
}

// Place is what an adapter can tell of one way of a message in the words of its
// broker, for spans. A zero field is not told.
type Place struct {
	// Destination is the whole name: for RabbitMQ "exchange:routing key:queue"
	// without empty or repeated parts. Empty where the queue's or topic's name says
	// all.
	Destination string
	// RoutingKey is RabbitMQ's.
	RoutingKey string
	// DeliveryTag is RabbitMQ's number of the delivery on its channel.
	DeliveryTag uint64
	// Server is where a publisher sends to. A subscription says it in Capabilities.
	Server Server
}

// Placed may be implemented by a Delivery's Ref. It is asked for a delivery whose
// span is started, and never while tracing is off.
type Placed interface {
	// Place says what is known of the way of d, whose Ref this is.
	Place(d *Delivery) Place
}

// Placer may be implemented by a [Publisher]. It is asked for each destination of a
// span, and once for each destination of a metric.
type Placer interface {
	// Place says what is known of a destination, as it is passed to Publish.
	Place(to string) Place
}
