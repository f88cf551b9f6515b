package rabbit

import (
	"context"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/internal/faultlab"
)

// A publisher whose queue was deleted and declared again by others, of which it
// hears nothing, publishes to the new one: a channel that knew the old one gets no
// confirmation any more, and is given up.
func TestPublisherFindsAQueueThatOthersHaveDeclaredAgain(t *testing.T) {
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
			t.Cleanup(func() { p.Close(context.WithoutCancel(t.Context())) })
			publish := func(n int) error {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				messages := make([]*broker.Message, n)
				for i := range messages {
					messages[i] = &broker.Message{Body: []byte("x")}
				}
				return p.Publish(ctx, queue, messages...)
			}
			var busy sync.WaitGroup
			loading, stop := context.WithCancel(t.Context())
			for range 4 {
				busy.Go(func() {
					for loading.Err() == nil {
						began := time.Now()
						if err := publish(100); err != nil {
							t.Logf("after %s: %.200s", time.Since(began).Round(time.Millisecond), err)
						}
					}
				})
			}
			defer busy.Wait()
			defer stop()
			time.Sleep(500 * time.Millisecond)
			onServer(t, server, func(c *amqp.Connection) error {
				ch, err := c.Channel()
				if err == nil {
					_, err = ch.QueueDelete(queue, false, false, false)
				}
				return err
			})
			time.Sleep(300 * time.Millisecond)
			full := s.withDefaults()
			top, err := newTopology(&full, queue, in)
			if err != nil {
				t.Fatal(err)
			}
			onServer(t, server, func(c *amqp.Connection) error { return top.ensure(c.Channel) })
			time.Sleep(5 * time.Second)
			began := time.Now()
			for err = publish(1); err != nil && time.Since(began) < 2*silence; err = publish(1) {
				t.Logf("after %s: %v", time.Since(began).Round(time.Millisecond), err)
			}
			if err != nil {
				t.Errorf("after %s: %v", time.Since(began), err)
			}
		})
	}
}
