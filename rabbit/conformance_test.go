package rabbit

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/broker/brokertest"
	"github.com/anyqueue/anyqueue/internal/faultlab"
)

// lines are the lines of RabbitMQ that are tested, by the variable that tells
// where a server is.
var lines = map[string]string{
	"3": "ANYQUEUE_RABBITMQ_URL",
	"4": "ANYQUEUE_RABBITMQ4_URL",
}

// RabbitMQ meets the contract, on both lines of servers, with both kinds of
// queues, and with an ordered consumer.
func TestConformance(t *testing.T) {
	for line, variable := range lines {
		t.Run(line, func(t *testing.T) {
			server := faultlab.Need(t, variable)
			for name, k := range map[string]kind{
				"quorum":  {server: server, queueType: Quorum},
				"classic": {server: server, queueType: Classic},
				"ordered": {server: server, queueType: Quorum, ordered: true},
			} {
				t.Run(name, func(t *testing.T) {
					brokertest.Run(t, brokertest.Harness{NewQueue: k.newQueue, Quiet: 300 * time.Millisecond})
				})
			}
		})
	}
}

// kind is a kind of queue on a server.
type kind struct {
	server    string
	queueType QueueType
	ordered   bool
}

var made atomic.Int64

// unique returns a name that no other test uses, also not one of another process.
func unique(what string) string {
	return fmt.Sprintf("test.%d.%s.%d", os.Getpid(), what, made.Add(1))
}

func (k kind) newQueue(t brokertest.T, spec brokertest.QueueSpec) brokertest.Queue {
	t.Helper()
	name := unique("conformance")
	consume, publish := newProxy(t, k.server), newProxy(t, k.server)
	intent := spec.Intent
	intent.Ordered = k.ordered
	if intent.MaxAttempts+intent.MaxAbandoned == 0 {
		intent.MaxAttempts = 1
	}
	settings := func(p *faultlab.Proxy) Settings {
		return Settings{URL: through(t, k.server, p), QueueType: k.queueType, ConnectTimeout: 10 * time.Second, Logger: slog.New(slog.DiscardHandler)}
	}
	makeQueues(t, k.server, settings(consume), name, intent)
	var opened sync.Map // the subscriptions
	subscribe := func(t brokertest.T) *broker.Endpoint {
		t.Helper()
		end, err := Open(t.Context(), settings(consume), name, intent)
		if err != nil {
			t.Fatalf("%v", err)
		}
		return end
	}
	return brokertest.Queue{
		Name: name,
		Subscribe: func(t brokertest.T) broker.Subscription {
			t.Helper()
			end := subscribe(t)
			closeNow(t, end.Publisher.Close)
			opened.Store(end.Subscription, true)
			return end.Subscription
		},
		DeadLetters: func(t brokertest.T) broker.Subscription {
			t.Helper()
			end := subscribe(t)
			closeNow(t, end.Publisher.Close)
			closeNow(t, end.Subscription.Close)
			dead, err := end.OpenDeadLetters(t.Context())
			if err != nil {
				t.Fatalf("%v", err)
			}
			return dead
		},
		Publisher: func(t brokertest.T) broker.Publisher {
			t.Helper()
			p, err := NewPublisher(t.Context(), settings(publish))
			if err != nil {
				t.Fatalf("%v", err)
			}
			return p
		},
		Kill: func(_ brokertest.T, s broker.Subscription) { s.(*Subscription).kill() },
		Drop: func(brokertest.T) {
			consume.Cut()
			publish.Cut()
		},
		FailNext: func(t brokertest.T, call brokertest.Call) {
			switch call {
			case brokertest.CallReceive:
				cut(t, consume, &opened)
			case brokertest.CallPublish:
				failNextPublish(publish)
			case brokertest.CallSettle, brokertest.CallExtend:
				t.Skipf("a settlement fails together with the lease on RabbitMQ; TestOriginalStaysWhileItsDelayQueueIsGoneOrFull shows the copies")
			}
		},
	}
}

// kill ends a consumer as a crash does: the network is gone, nobody says goodbye.
func (s *Subscription) kill() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	// An ack that was sent is not answered: give the server a moment to read it, or the
	// reset of the connection may overtake it.
	<-time.After(200 * time.Millisecond)
	w := s.link.state().live
	s.stop()
	if w != nil {
		w.raw.abort()
	}
	<-s.gone
	s.out.release()
}

// failNextPublish cuts the connection that next publishes, before the server sees
// the message.
func failNextPublish(p *faultlab.Proxy) {
	var failed atomic.Bool
	p.Intercept(faultlab.ToServer, func(_ int, data []byte) ([]byte, faultlab.Action) {
		if isMethod(data, 60, 40) && failed.CompareAndSwap(false, true) {
			return nil, faultlab.Reset
		}
		return data, faultlab.Forward
	})
}

// isMethod says whether a frame is a method of a class.
func isMethod(frame []byte, class, method uint16) bool {
	return len(frame) >= 11 && frame[0] == 1 &&
		binary.BigEndian.Uint16(frame[7:]) == class && binary.BigEndian.Uint16(frame[9:]) == method
}

// splitFrames is a bufio.SplitFunc for AMQP.
func splitFrames(data []byte, atEOF bool) (int, []byte, error) {
	if atEOF && len(data) == 0 {
		return 0, nil, nil
	}
	n := 8 // the protocol header
	if len(data) < 8 {
		if atEOF {
			return len(data), data, bufio.ErrFinalToken
		}
		return 0, nil, nil
	}
	if !strings.HasPrefix(string(data[:4]), "AMQP") {
		n = 8 + int(binary.BigEndian.Uint32(data[3:]))
	}
	if len(data) < n {
		return 0, nil, nil
	}
	return n, data[:n], nil
}

func newProxy(t brokertest.T, server string) *faultlab.Proxy {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatalf("%v", err)
	}
	p, err := faultlab.NewProxy(u.Host)
	if err != nil {
		t.Fatalf("%v", err)
	}
	p.Frames(faultlab.ToServer, splitFrames)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// through returns the address of a server by way of a proxy.
func through(t brokertest.T, server string, p *faultlab.Proxy) broker.Secret {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatalf("%v", err)
	}
	u.Host = p.Addr()
	return broker.NewSecret(u.String())
}

func closeNow(t brokertest.T, f func(context.Context) error) {
	t.Helper()
	if err := f(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
}

// cut cuts the connections of consumers and waits until they have noticed.
func cut(t brokertest.T, p *faultlab.Proxy, opened *sync.Map) {
	t.Helper()
	var ended []<-chan struct{}
	opened.Range(func(s, _ any) bool {
		sub := s.(*Subscription)
		sub.mu.Lock()
		defer sub.mu.Unlock()
		if sub.current != nil {
			ended = append(ended, sub.current.Lost())
		}
		return true
	})
	p.Cut()
	for _, lost := range ended {
		select {
		case <-lost:
		case <-t.Context().Done():
			t.Fatalf("the consumer does not notice that its connection was cut")
		}
	}
}

// makeQueues declares the queues of a test, and deletes them at its end.
func makeQueues(t brokertest.T, server string, s Settings, name string, in broker.Intent) {
	t.Helper()
	s = s.withDefaults()
	top, err := newTopology(&s, name, in)
	if err != nil {
		t.Fatalf("%v", err)
	}
	onServer(t, server, func(c *amqp.Connection) error { return top.ensure(c.Channel) })
	t.Cleanup(func() {
		onServer(t, server, func(c *amqp.Connection) error {
			ch, err := c.Channel()
			if err != nil {
				return err
			}
			for _, q := range top.queues {
				if _, err := ch.QueueDelete(q.name, false, false, false); err != nil {
					return fmt.Errorf("delete queue %q: %w", q.name, err)
				}
			}
			return nil
		})
	})
}

// onServer does something over a connection of its own.
func onServer(t brokertest.T, server string, do func(*amqp.Connection) error) {
	t.Helper()
	c, err := amqp.Dial(server)
	if err != nil {
		t.Errorf("connect to the server: %v", err)
		return
	}
	defer c.Close()
	if err := do(c); err != nil {
		t.Errorf("%v", err)
	}
}
