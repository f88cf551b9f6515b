package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// maxBacklog is the most messages that are published and not finished: the job
// streams, so that it takes the same memory for a thousand orders and a million.
const maxBacklog = 1000

// publisher streams what a source has to say into the queue.
type publisher struct {
	to      broker.Publisher
	queue   string
	backlog func() int // messages that are published and not finished

	sent atomic.Int64
}

// run publishes all batches. It returns an error when the source has one, when
// the broker refuses a message for good, and when ctx ends.
func (p *publisher) run(ctx context.Context, s source) error {
	for batch, err := range s.batches() {
		if err := p.send(ctx, batch); err != nil {
			return err
		}
		if err != nil {
			return err
		}
		for p.backlog() >= maxBacklog {
			if err := pause(ctx, 5*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// send publishes a batch until all of it is confirmed. What was not confirmed may
// have arrived all the same; it has the same ID when it is sent again, so that
// the consumer recognises it.
func (p *publisher) send(ctx context.Context, batch []*broker.Message) error {
	for wait := 50 * time.Millisecond; len(batch) > 0; wait = min(2*wait, 2*time.Second) {
		err := p.to.Publish(ctx, p.queue, batch...)
		if err == nil {
			p.sent.Add(int64(len(batch)))
			return nil
		}
		for _, final := range []error{broker.ErrTooLarge, broker.ErrNotFound, broker.ErrAccessDenied, broker.ErrInvalid, broker.ErrClosed} {
			if errors.Is(err, final) {
				return fmt.Errorf("publish refund requests: %w", err)
			}
		}
		if some, ok := errors.AsType[*broker.PublishError](err); ok {
			left := make([]*broker.Message, len(some.Failed))
			for i, f := range some.Failed {
				left[i] = batch[f.Index]
			}
			p.sent.Add(int64(len(batch) - len(left)))
			batch = left
		}
		if pause(ctx, wait) != nil {
			return fmt.Errorf("publish refund requests: %w, the last time with: %w", context.Cause(ctx), err)
		}
	}
	return nil
}

// pause waits, or returns why ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
