package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/rabbit"
)

// Variable names the environment variable with the address of the server.
const Variable = "ANYQUEUE_RABBITMQ_URL"

// NoServer is what to say when there is no server.
const NoServer = Variable + ` is not set: no RabbitMQ to measure; start one with: scripts/servers up rabbitmq && eval "$(scripts/servers env)"`

// Server is a queue on a RabbitMQ server. All contenders use the same one, in
// turn.
type Server struct {
	URL   string
	Queue string

	conn     *amqp.Connection
	ch       *amqp.Channel
	filler   *amqp.Channel // in confirm mode
	deadName string
}

var opened atomic.Int64

// OpenServer declares a quorum queue as the adapter does, with a name that nobody
// else uses.
func OpenServer(ctx context.Context, url string) (_ *Server, err error) {
	s := &Server{URL: url, Queue: fmt.Sprintf("bench.%d.%d", os.Getpid(), opened.Add(1))}
	end, err := rabbit.Open(ctx, s.settings(0), s.Queue, intent)
	if err != nil {
		return nil, err
	}
	s.deadName = end.DeadLetter
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	err = errors.Join(end.Subscription.Close(ctx), end.Publisher.Close(ctx))
	if err != nil {
		return nil, err
	}
	if s.conn, err = amqp.Dial(url); err != nil {
		return nil, err
	}
	if s.ch, err = s.conn.Channel(); err != nil {
		return nil, err
	}
	if s.filler, err = s.conn.Channel(); err != nil {
		return nil, err
	}
	return s, s.filler.Confirm(false)
}

// intent is what the runtime asks of a queue without order; retries are held.
var intent = broker.Intent{MaxAttempts: 5, MaxAbandoned: 3, MaxInFlight: inFlight, Concurrency: concurrency}

const (
	concurrency = 16
	inFlight    = 256 // the runtime's default
)

func (s *Server) settings(prefetch int) rabbit.Settings {
	return rabbit.Settings{URL: broker.NewSecret(s.URL), Prefetch: prefetch, Logger: slog.New(slog.DiscardHandler)}
}

// Close deletes the queues.
func (s *Server) Close() {
	if s.conn == nil {
		return
	}
	for _, name := range []string{s.Queue, s.deadName} {
		if ch, err := s.conn.Channel(); err == nil && name != "" {
			_, _ = ch.QueueDelete(name, false, false, false) // it may be gone, or the server
		}
	}
	_ = s.conn.Close()
}

// Fill publishes n messages and returns when all are confirmed. They carry what
// the adapter gives a message without key and headers: an id and a time. The queue
// must be empty.
func (s *Server) Fill(ctx context.Context, n, body int) error {
	const batch = 1000
	if err := s.Drained(ctx); err != nil {
		return err
	}
	confirms := make([]*amqp.DeferredConfirmation, 0, batch)
	for sent := range n {
		c, err := s.filler.PublishWithDeferredConfirmWithContext(ctx, "", s.Queue, false, false, publishing(body))
		if err != nil {
			return err
		}
		if confirms = append(confirms, c); len(confirms) < batch && sent < n-1 {
			continue
		}
		for _, c := range confirms {
			if ok, err := c.WaitContext(ctx); err != nil || !ok {
				return errors.Join(fmt.Errorf("a message was not confirmed: %t", ok), err)
			}
		}
		confirms = confirms[:0]
	}
	return nil
}

func publishing(body int) amqp.Publishing {
	return amqp.Publishing{
		DeliveryMode: amqp.Persistent, MessageId: nextID(), Timestamp: time.Now(), Body: make([]byte, body),
	}
}

var ids atomic.Int64

// nextID returns an id of the length that the adapter's have.
func nextID() string { return fmt.Sprintf("0190f3a5-0000-7000-8000-%012d", ids.Add(1)) }

// Drained waits until the queue is empty.
func (s *Server) Drained(ctx context.Context) error {
	limit, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		q, err := s.ch.QueueDeclarePassive(s.Queue, true, false, false, false, nil)
		if err != nil {
			return err
		}
		if q.Messages == 0 {
			return nil
		}
		select {
		case <-limit.Done():
			return fmt.Errorf("%d messages are left in queue %q: %w", q.Messages, s.Queue, limit.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Purge empties the queue.
func (s *Server) Purge() error {
	_, err := s.ch.QueuePurge(s.Queue, false)
	return err
}

// Product is the server's name and version.
func (s *Server) Product() string {
	return fmt.Sprintf("%v %v", s.conn.Properties["product"], s.conn.Properties["version"])
}
