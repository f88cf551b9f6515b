package rabbit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
)

// An unroutable message is never taken for a safe one, although another caller has
// published the same id to the same place and given up.
func TestReturnIsNotTakenByACallerThatGaveUp(t *testing.T) {
	t.Parallel()
	s := newStation(t, broker.Intent{Concurrency: 1, MaxInFlight: 1})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	hasty, done := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, ctx := range []context.Context{ended, hasty} {
		wg.Go(func() {
			for hasty.Err() == nil {
				short, over := context.WithTimeout(ctx, 300*time.Microsecond)
				_ = s.publisher.Publish(short, "no-such-queue", &broker.Message{ID: "order 7", Body: []byte("again")})
				over()
			}
		})
	}
	for range 50 {
		var all []*broker.Message
		for i := range 20 {
			all = append(all, &broker.Message{ID: fmt.Sprint("order ", i), Body: []byte("x")})
		}
		err := s.publisher.Publish(t.Context(), "no-such-queue", all...)
		if failed, ok := errors.AsType[*broker.PublishError](err); !ok || len(failed.Failed) != len(all) {
			t.Errorf("of %d messages to a queue that is not there some are called safe: %v", len(all), err)
			break
		}
	}
	done()
	wg.Wait()
}

// Copies of messages without an id, whose delay queue is gone, are not called safe,
// whoever else settles at the same time: none of the originals is acknowledged.
func TestUnroutableCopiesAreNeverSafe(t *testing.T) {
	t.Parallel()
	const n, calls, each = 400, 4, 5
	s := newStation(t, broker.Intent{Concurrency: n, MaxInFlight: n, Delays: []time.Duration{time.Second}})
	sub := s.consumer()
	onServer(t, s.server, func(c *amqp.Connection) error {
		ch, err := c.Channel()
		if err != nil {
			return err
		}
		for i := range n {
			if err := ch.Publish("", s.name, false, false, amqp.Publishing{Body: fmt.Append(nil, i)}); err != nil {
				return err
			}
		}
		_, err = ch.QueueDelete(sub.plan.topology.rungs[0].queue, false, false, false)
		return err
	})
	ds := s.receive(sub, n, 10*time.Second)
	var safe atomic.Int64
	var wg sync.WaitGroup
	for c := range calls {
		wg.Go(func() {
			for first := c * n / calls; first < (c+1)*n/calls; first += each {
				var set []broker.Settlement
				for i := first; i < first+each; i++ {
					set = append(set, broker.Settlement{Delivery: &ds[i], Action: broker.Retry, After: time.Second})
				}
				ctx, over := context.WithTimeout(t.Context(), 10*time.Second)
				if c%2 == 0 { // these give up at once, or soon
					ctx, over = context.WithTimeout(t.Context(), time.Duration(first)*5*time.Microsecond)
				}
				err := sub.Settle(ctx, set)
				over()
				if failed, ok := errors.AsType[*broker.SettleError](err); ok {
					safe.Add(int64(each - len(failed.Failed)))
				} else if err == nil {
					safe.Add(each)
				}
			}
		})
	}
	wg.Wait()
	if k := safe.Load(); k > 0 {
		t.Errorf("%d originals were acknowledged although no copy of them was stored", k)
	}
}

// A lost connection is not taken for a deleted queue: the client closes the channel
// of cancels together with it.
func TestLostConnectionIsNotADeletedQueue(t *testing.T) {
	for range 100 {
		closed, cancels := make(chan *amqp.Error, 1), make(chan string)
		closed <- &amqp.Error{Code: amqp.FrameError, Reason: "the network is gone"}
		close(closed)
		close(cancels)
		c := &consumption{closed: closed, cancels: cancels, sub: &Subscription{}}
		if err := c.over(); !errors.Is(err, broker.ErrDisconnected) {
			t.Fatalf("the consumer ended with %v", err)
		}
	}
}

// What is settled is let go of, although its neighbours in memory are still held.
func TestSettledMessageIsLetGoOf(t *testing.T) {
	t.Parallel()
	s := newStation(t, broker.Intent{Concurrency: 10, MaxInFlight: 10})
	sub := s.consumer()
	s.publish(10)
	ds := s.receive(sub, 10, 10*time.Second)
	s.ack(sub, ds[1:])
	for i := range ds {
		if native, _ := Native(&ds[i]); (native.Body == nil) != (i > 0) {
			t.Errorf("delivery %d of 10, of which the first is held, has a body of %d bytes", i, len(native.Body))
		}
	}
	s.ack(sub, ds[:1])
}
