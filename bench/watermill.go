package bench

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
)

const topic = "bench"

// router is Watermill: its in-memory pub/sub and its Router, logging nothing.
// The Router starts a goroutine per message and has no limit of concurrency: as
// many handlers run at once as messages are in the window.
type router struct {
	pubsub   *gochannel.GoChannel
	router   *message.Router
	messages []*message.Message
	ended    chan error
}

// startWatermill returns a starter, with or without the four middlewares that
// its documentation shows first.
func startWatermill(withMiddleware bool) func(context.Context, Case, []Item, Handle) (Pipe, error) {
	return func(ctx context.Context, c Case, items []Item, h Handle) (Pipe, error) {
		log := watermill.NopLogger{}
		r, err := message.NewRouter(message.RouterConfig{}, log)
		if err != nil {
			return nil, err
		}
		p := &router{
			pubsub: gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: int64(c.Window)}, log),
			router: r,
			ended:  make(chan error, 1),
		}
		if withMiddleware {
			retry := middleware.Retry{
				MaxRetries:      4,
				InitialInterval: 200 * time.Millisecond,
				MaxInterval:     time.Minute,
				Multiplier:      2,
			}
			r.AddMiddleware(
				middleware.Recoverer,
				middleware.CorrelationID,
				retry.Middleware,
				middleware.Timeout(attemptTimeout),
			)
		}
		r.AddConsumerHandler("bench", topic, p.pubsub, func(m *message.Message) error {
			h("", m.Payload)
			return nil
		})
		for _, it := range items {
			m := message.NewMessage(it.ID, it.Body)
			if withMiddleware {
				middleware.SetCorrelationID(it.ID, m)
			}
			p.messages = append(p.messages, m)
		}

		go func() { p.ended <- r.Run(ctx) }()
		select {
		case <-r.Running():
			return p, nil
		case err := <-p.ended:
			return nil, err
		}
	}
}

func (p *router) Publish(_ context.Context, from, to int) error {
	return p.pubsub.Publish(topic, p.messages[from:to]...)
}

func (p *router) Stop() error {
	if err := p.router.Close(); err != nil {
		return err
	}
	if err := p.pubsub.Close(); err != nil {
		return err
	}
	return <-p.ended
}
