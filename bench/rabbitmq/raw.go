package rabbitmq

import (
	"context"
	"errors"

	amqp "github.com/rabbitmq/amqp091-go"
)

// startRaw returns a starter of a consumer as one writes it with the client: one
// goroutine that handles and acknowledges. With most above 1 it acknowledges that
// many at once, but half of the prefetch at most, or the server would wait.
func startRaw(most int) func(context.Context, load) (func() error, error) {
	return func(_ context.Context, l load) (func() error, error) {
		conn, err := amqp.Dial(l.server.URL)
		if err != nil {
			return nil, err
		}
		ch, deliveries, err := rawDeliveries(conn, l)
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		most := min(most, l.Prefetch/2)
		ended := make(chan error, 1)
		go func() { ended <- rawConsume(deliveries, most, l) }()
		return func() error {
			// The channel first: the server may drop what a channel has not read yet when its
			// connection closes, and with it the last acknowledgements.
			return errors.Join(<-ended, ch.Close(), conn.Close())
		}, nil
	}
}

func rawDeliveries(conn *amqp.Connection, l load) (*amqp.Channel, <-chan amqp.Delivery, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, nil, err
	}
	if err := ch.Qos(l.Prefetch, 0, false); err != nil {
		return nil, nil, err
	}
	deliveries, err := ch.Consume(l.server.Queue, "", false, false, false, false, nil)
	return ch, deliveries, err
}

func rawConsume(deliveries <-chan amqp.Delivery, most int, l load) error {
	n := 0
	for d := range deliveries {
		l.handle()
		if n++; most <= 1 {
			if err := d.Ack(false); err != nil {
				return err
			}
		} else if n%most == 0 || n == l.total {
			if err := d.Ack(true); err != nil {
				return err
			}
		}
		if n == l.total {
			return nil
		}
	}
	return errors.New("the channel was closed")
}
