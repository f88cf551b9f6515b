package rabbit

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/internal/faultlab"
)

// Publishers under load whose queue others delete and declare again, of which they
// are told nothing, publish to the new one, all of them.
func TestPublishersGoOnWithAQueueThatOthersHaveDeclaredAgain(t *testing.T) {
	for line, variable := range lines {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			server := faultlab.Need(t, variable)
			queue := unique("again")
			s := Settings{URL: broker.NewSecret(server), Logger: quiet}
			in := broker.Intent{MaxAttempts: 1}
			makeQueues(t, server, s, queue, in)
			p, err := NewPublisher(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			var succeeded [4]atomic.Int64
			loading, stop := context.WithCancel(t.Context())
			var busy sync.WaitGroup
			for i := range succeeded {
				busy.Go(func() {
					for loading.Err() == nil {
						messages := make([]*broker.Message, 100)
						for i := range messages {
							messages[i] = &broker.Message{Body: []byte("x")}
						}
						ctx, cancel := context.WithTimeout(loading, 2*time.Second)
						if p.Publish(ctx, queue, messages...) == nil {
							succeeded[i].Add(1)
						}
						cancel()
					}
				})
			}
			defer func() {
				stop()
				busy.Wait()
				if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
					t.Error(err)
				}
			}()
			again := func(why string) {
				for i := range succeeded {
					succeeded[i].Store(0)
				}
				began := time.Now()
				for i := range succeeded {
					for ; succeeded[i].Load() < 2; time.Sleep(5 * time.Millisecond) {
						if time.Since(began) > 2*silence {
							t.Fatalf("%s: publisher %d stores nothing for %s", why, i, time.Since(began))
						}
					}
				}
			}
			again("before")
			full := s.withDefaults()
			top, err := newTopology(&full, queue, in)
			if err != nil {
				t.Fatal(err)
			}
			onServer(t, server, func(c *amqp.Connection) error {
				ch, err := c.Channel()
				if err == nil {
					_, err = ch.QueueDelete(queue, false, false, false)
				}
				time.Sleep(200 * time.Millisecond)
				return err
			})
			onServer(t, server, func(c *amqp.Connection) error { return top.ensure(c.Channel) })
			again("after the queue was declared again")
		})
	}
}
