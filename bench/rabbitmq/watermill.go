package rabbitmq

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill"
	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v3/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"
)

// existing is the topology of Watermill's AMQP here: the queue is there.
type existing struct{}

// BuildTopology declares nothing.
func (existing) BuildTopology(*amqp.Channel, wamqp.BuildTopologyParams, wamqp.Config, watermill.LoggerAdapter) error {
	return nil
}

// ExchangeDeclare declares nothing.
func (existing) ExchangeDeclare(*amqp.Channel, string, wamqp.Config) error { return nil }

func watermillConfig(url string) wamqp.Config {
	c := wamqp.NewDurableQueueConfig(url)
	c.TopologyBuilder = existing{}
	return c
}

// startWatermill consumes with Watermill's AMQP and its Router. It hands out a
// message, waits until it is acknowledged, and takes the next, whatever the
// prefetch is. The messages have no header of Watermill's, which it reads
// otherwise: that is in its favour.
func startWatermill(ctx context.Context, l load) (func() error, error) {
	config := watermillConfig(l.server.URL)
	config.Consume.Qos.PrefetchCount = l.Prefetch
	log := watermill.NopLogger{}
	sub, err := wamqp.NewSubscriber(config, log)
	if err != nil {
		return nil, err
	}
	r, err := message.NewRouter(message.RouterConfig{}, log)
	if err != nil {
		return nil, errors.Join(err, sub.Close())
	}
	r.AddConsumerHandler("bench", l.server.Queue, sub, func(*message.Message) error {
		l.handle()
		return nil
	})
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	return func() error { return errors.Join(r.Close(), <-ended, sub.Close()) }, nil
}
