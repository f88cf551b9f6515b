package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v3/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/bench"
	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/rabbit"
)

// PublishCase is one setting in which publishers are compared.
type PublishCase struct {
	Batch   int // messages that one call publishes
	Callers int // calls at once
}

// PublishCases returns all cases.
func PublishCases() []PublishCase {
	var cases []PublishCase
	for _, callers := range []int{1, 8} {
		for _, batch := range []int{1, 10, 100, 1000} {
			cases = append(cases, PublishCase{batch, callers})
		}
	}
	return cases
}

func (c PublishCase) String() string {
	return fmt.Sprintf("batches of %d, %d at once", c.Batch, c.Callers)
}

const publishBody = 100 // bytes

// Publisher is one way to publish.
type Publisher struct {
	Name string
	// open returns a call that publishes n messages and returns when all are
	// confirmed. Caller is its number; each is one goroutine.
	open func(ctx context.Context, s *Server, callers int) (publish func(ctx context.Context, caller, n int) error, end func() error, err error)
}

// String is the name.
func (p Publisher) String() string { return p.Name }

// Names of the publishers.
const (
	NameRawPublisher       = "raw client"
	NamePublisher          = "anyqueue's publisher"
	NameWatermillPublisher = "Watermill's publisher"
)

// Publishers returns all that there are for a case.
func Publishers() []Publisher {
	return []Publisher{
		{NameRawPublisher, openRaw},
		{NamePublisher, openPublisher},
		{NameWatermillPublisher, openWatermill},
	}
}

// Measure publishes for about so long.
func (p Publisher) Measure(ctx context.Context, s *Server, c PublishCase, long time.Duration) (_ bench.Sample, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s, %s: %w", p.Name, c, err)
		}
	}()
	publish, end, err := p.open(ctx, s, c.Callers)
	if err != nil {
		return bench.Sample{}, err
	}
	defer func() { err = errors.Join(err, end(), s.Purge()) }()
	if err := publish(ctx, 0, 1); err != nil { // opens what is opened late
		return bench.Sample{}, err
	}
	var sent atomic.Int64
	errs := make([]error, c.Callers)
	var callers sync.WaitGroup
	m := bench.StartMeter()
	until := time.Now().Add(long)
	for i := range c.Callers {
		callers.Go(func() {
			for errs[i] == nil && time.Now().Before(until) {
				errs[i] = publish(ctx, i, c.Batch)
				sent.Add(int64(c.Batch))
			}
		})
	}
	callers.Wait()
	return m.Sample(int(sent.Load())), errors.Join(errs...)
}

// openRaw publishes with the client: a channel in confirm mode for each
// goroutine, which sends the batch and waits for its confirmations.
func openRaw(_ context.Context, s *Server, callers int) (func(context.Context, int, int) error, func() error, error) {
	conn, err := amqp.Dial(s.URL)
	if err != nil {
		return nil, nil, err
	}
	channels := make([]*amqp.Channel, callers)
	confirms := make([][]*amqp.DeferredConfirmation, callers)
	for i := range channels {
		ch, err := conn.Channel()
		if err == nil {
			err = ch.Confirm(false)
		}
		if err != nil {
			return nil, nil, errors.Join(err, conn.Close())
		}
		channels[i] = ch
	}
	return func(ctx context.Context, caller, n int) error {
		pending := confirms[caller][:0]
		for range n {
			c, err := channels[caller].PublishWithDeferredConfirmWithContext(ctx, "", s.Queue, true, false, publishing(publishBody))
			if err != nil {
				return err
			}
			pending = append(pending, c)
		}
		confirms[caller] = pending
		for _, c := range pending {
			if ok, err := c.WaitContext(ctx); err != nil || !ok {
				return errors.Join(fmt.Errorf("a message was not confirmed: %t", ok), err)
			}
		}
		return nil
	}, conn.Close, nil
}

// openPublisher publishes with the adapter's publisher, which all share.
func openPublisher(ctx context.Context, s *Server, _ int) (func(context.Context, int, int) error, func() error, error) {
	p, err := rabbit.NewPublisher(ctx, s.settings(0))
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, _, n int) error {
			messages := make([]*broker.Message, n)
			for i := range messages {
				messages[i] = &broker.Message{Body: make([]byte, publishBody)}
			}
			return p.Publish(ctx, s.Queue, messages...)
		}, func() error {
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
			defer cancel()
			return p.Close(closing)
		}, nil
}

// openWatermill publishes with Watermill's publisher, which has a channel for each
// goroutine here. It waits for the confirmation of a message before it sends the
// next of the same call.
func openWatermill(_ context.Context, s *Server, callers int) (func(context.Context, int, int) error, func() error, error) {
	config := watermillConfig(s.URL)
	config.Publish.ConfirmDelivery = true
	config.Publish.ChannelPoolSize = callers
	p, err := wamqp.NewPublisher(config, watermill.NopLogger{})
	if err != nil {
		return nil, nil, err
	}
	return func(_ context.Context, _, n int) error {
		messages := make([]*message.Message, n)
		for i := range messages {
			messages[i] = message.NewMessage(watermill.NewUUID(), make([]byte, publishBody))
		}
		return p.Publish(s.Queue, messages...)
	}, p.Close, nil
}
