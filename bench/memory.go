package bench

import (
	"context"
	"errors"
	"math"
	"sync/atomic"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
)

// Batches are mean sizes of the runtime's calls of the broker.
type Batches struct{ Receive, Settle float64 }

// raw is the in-memory broker's own cost, of which the runtime cannot be
// cheaper: one goroutine that receives, calls the handler, and acknowledges, in
// batches of the size that the runtime's were.
type raw struct {
	queueOf
	cancel context.CancelFunc
	ended  chan error
}

func startRaw(b Batches) func(context.Context, Case, []Item, Handle) (Pipe, error) {
	return func(ctx context.Context, _ Case, items []Item, h Handle) (Pipe, error) {
		q, err := newQueue(items)
		if err != nil {
			return nil, err
		}
		sub, err := q.broker.Subscribe(queue, memory.SubscribeOptions{})
		if err != nil {
			return nil, err
		}
		p := &raw{queueOf: q, ended: make(chan error, 1)}
		ctx, p.cancel = context.WithCancel(ctx)
		go func() { p.ended <- receiveAll(ctx, sub, b, h) }()
		return p, nil
	}
}

// receiveAll consumes until ctx ends.
func receiveAll(ctx context.Context, sub broker.Subscription, b Batches, h Handle) error {
	credit := broker.Credit{Messages: whole(b.Receive), Bytes: 64 << 20}
	most := whole(b.Settle)
	settlements := make([]broker.Settlement, 0, most)
	settling := context.WithoutCancel(ctx)
	for {
		deliveries, err := sub.Receive(ctx, credit)
		if err != nil {
			if ctx.Err() != nil {
				err = nil
			}
			return errors.Join(err, sub.Close(settling))
		}
		for i := range deliveries {
			d := &deliveries[i]
			h(d.Key, d.Body)
			settlements = append(settlements, broker.Settlement{Delivery: d, Action: broker.Ack})
			// What was received is settled before the next Receive: a key whose
			// message is leased gets no other.
			if len(settlements) == most || i == len(deliveries)-1 {
				if err := sub.Settle(settling, settlements); err != nil {
					return err
				}
				settlements = settlements[:0]
			}
		}
	}
}

func whole(mean float64) int { return max(1, int(math.Round(mean))) }

func (p *raw) Stop() error {
	p.cancel()
	return errors.Join(<-p.ended, p.drained())
}

// batchCounter counts the calls that the runtime makes of a subscription.
type batchCounter struct {
	broker.Subscription
	receives, received, settles, settled atomic.Int64
}

func (s *batchCounter) Receive(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
	deliveries, err := s.Subscription.Receive(ctx, credit)
	if len(deliveries) > 0 {
		s.receives.Add(1)
		s.received.Add(int64(len(deliveries)))
	}
	return deliveries, err
}

func (s *batchCounter) Settle(ctx context.Context, settlements []broker.Settlement) error {
	s.settles.Add(1)
	s.settled.Add(int64(len(settlements)))
	return s.Subscription.Settle(ctx, settlements)
}

// RuntimeBatches runs n messages through the runtime and returns how large the
// batches were that it received and settled.
func RuntimeBatches(ctx context.Context, c Case, n int) (Batches, error) {
	var s batchCounter
	ct := Contender{Name: "anyqueue, counted", Start: startConsumer(full, func(sub broker.Subscription) broker.Subscription {
		s.Subscription = sub
		return &s
	})}
	if _, err := ct.Measure(ctx, c, n); err != nil {
		return Batches{}, err
	}
	return Batches{
		Receive: float64(s.received.Load()) / float64(s.receives.Load()),
		Settle:  float64(s.settled.Load()) / float64(s.settles.Load()),
	}, nil
}
