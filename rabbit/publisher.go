package rabbit

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// Publisher publishes to queues and exchanges over a connection of its own: when
// the broker blocks publishers, consuming goes on. It implements
// [broker.Publisher].
//
// A message is safe when the broker has confirmed it and has not returned it as
// unroutable. Messages are persistent.
type Publisher struct {
	out *outbox

	mu      sync.Mutex
	closed  bool
	callers sync.WaitGroup // calls of Publish under way; grows only while not closed
}

var _ broker.Publisher = (*Publisher)(nil)

// NewPublisher connects a publisher that belongs to no consumer: for a program
// that only publishes. ctx and s.ConnectTimeout bound the first connection;
// afterwards the publisher reconnects by itself until Close.
func NewPublisher(ctx context.Context, s Settings) (*Publisher, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	s = s.withDefaults()
	d, err := newDialer(&s)
	if err != nil {
		return nil, err
	}
	out, err := openOutbox(ctx, "publish", d, &s)
	if err != nil {
		return nil, err
	}
	return &Publisher{out: out}, nil
}

// exchangePrefix marks a destination that is an exchange; see [To].
const exchangePrefix = "exchange:"

// To returns the destination that stands for an exchange and a routing key, to be
// passed to [Publisher.Publish] in place of the name of a queue.
func To(exchange, routingKey string) string {
	return exchangePrefix + url.PathEscape(exchange) + "/" + routingKey
}

// route takes a destination apart; the exchange of a queue is "".
func route(to string) (exchange, key string, err error) {
	rest, ok := strings.CutPrefix(to, exchangePrefix)
	if !ok {
		if to == "" {
			return "", "", &broker.FieldError{Field: "To", Problem: "is empty; give the name of a queue, or rabbit.To(exchange, routingKey)"}
		}
		return "", to, shortString("Queue", to)
	}
	name, key, ok := strings.Cut(rest, "/")
	if ok {
		exchange, err = url.PathUnescape(name)
	}
	if !ok || err != nil || exchange == "" {
		return "", "", &broker.FieldError{Field: "To", Value: to, Problem: "is no destination; make one with rabbit.To(exchange, routingKey), or give the name of a queue"}
	}
	return exchange, key, shortString("RoutingKey", key)
}

// shortString checks what AMQP can carry as a name: the client writes anything
// longer by closing the connection.
func shortString(field, s string) error {
	if len(s) > 255 {
		return &broker.FieldError{Field: field, Value: s, Problem: "is longer than AMQP's 255 bytes; shorten it"}
	}
	return nil
}

// Publish sends the messages to a queue, or to an exchange when `to` was made with
// [To], and returns when each was confirmed; see [broker.Publisher]. While the
// broker blocks publishers (memory or disk alarm) it waits until ctx ends, and
// then fails with [broker.ErrFull].
func (p *Publisher) Publish(ctx context.Context, to string, messages ...*broker.Message) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return fmt.Errorf("rabbitmq: publish to %q: publisher: %w", to, broker.ErrClosed)
	}
	p.callers.Add(1)
	p.mu.Unlock()
	defer p.callers.Done()
	exchange, key, err := route(to)
	if err != nil {
		return fmt.Errorf("rabbitmq: publish to %q: %w", to, err)
	}
	parcels := make([]*parcel, len(messages))
	fill := make([]parcel, len(messages))
	for i, m := range messages {
		parcels[i] = &fill[i]
		parcels[i].exchange, parcels[i].key = exchange, key
		if err := broker.Prepare(m, time.Now()); err != nil {
			parcels[i].err = err
			continue
		}
		parcels[i].Publishing, parcels[i].err = encode(m)
	}
	p.out.send(ctx, parcels)
	var failed []broker.Failed
	for i, c := range parcels {
		if c.err != nil {
			failed = append(failed, broker.Failed{Index: i, Err: fmt.Errorf("rabbitmq: publish to %q: %w", to, c.err)})
		}
	}
	if failed != nil {
		return &broker.PublishError{Failed: failed}
	}
	return nil
}

// Close waits for the calls of Publish under way, until ctx ends, and closes the
// connection, unless a subscription of the same endpoint still needs it. A call
// that is under way even then ends with its own context, or with the connection.
func (p *Publisher) Close(ctx context.Context) error {
	p.mu.Lock()
	again := p.closed
	p.closed = true
	p.mu.Unlock()
	if again {
		return nil
	}
	idle := make(chan struct{})
	go func() {
		defer close(idle)
		p.callers.Wait()
	}()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = fmt.Errorf("rabbitmq: close a publisher: confirmations are still under way: %w", ctx.Err())
	}
	p.out.release()
	return err
}
