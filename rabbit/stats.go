package rabbit

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
)

// Stats asks the broker for the depth of the queue, of its delay queues and of
// its dead-letter queue. AMQP counts what is ready there, and tells neither what
// is in flight nor how old anything is.
func (s *Subscription) Stats(ctx context.Context) (broker.Stats, error) {
	var stats broker.Stats
	w, err := s.link.get(ctx)
	if err == nil {
		stats, err = ask(ctx, w, s.plan.topology)
	}
	if ready, ok := stats.Ready.Get(); ok {
		s.mu.Lock()
		stats.Ready = broker.Known(ready + int64(len(s.buffer)))
		s.mu.Unlock()
	}
	if err != nil {
		return broker.Stats{}, fmt.Errorf("rabbitmq: statistics of %q: %w", s.plan.queue, err)
	}
	return stats, nil
}

// ask does the asking in a goroutine, so that a broker that does not answer
// neither holds the caller nor costs the connection; the goroutine ends with the
// answer or with the connection.
func ask(ctx context.Context, w *connection, t *topology) (broker.Stats, error) {
	type answer struct {
		stats broker.Stats
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		a.stats, a.err = count(w, t)
		done <- a
	}()
	select {
	case a := <-done:
		return a.stats, a.err
	case <-ctx.Done():
		return broker.Stats{}, ctx.Err()
	}
}

func count(w *connection, t *topology) (stats broker.Stats, err error) {
	ch, err := w.Channel() // one of its own: asking for a queue that is gone closes it
	if err != nil {
		return stats, disconnected(err)
	}
	defer ch.Close() //nolint:errcheck // it ends with the connection at the latest
	ready, err := depth(ch, t.queue)
	if err != nil {
		return stats, err
	}
	stats.Ready = broker.Known(ready)
	var delayed int64
	for _, r := range t.rungs {
		n, err := depth(ch, r.queue)
		if err != nil {
			return stats, err
		}
		delayed += n
	}
	stats.Delayed = broker.Known(delayed)
	if t.deadLetter != "" {
		dead, err := depth(ch, t.deadLetter)
		if err != nil {
			return stats, err
		}
		stats.DeadLetters = broker.Known(dead)
	}
	return stats, nil
}

func depth(ch *amqp.Channel, queue string) (int64, error) {
	// A passive declaration asks only; the other arguments are not looked at.
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		return 0, classify(err)
	}
	return int64(q.Messages), nil
}
