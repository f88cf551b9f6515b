package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

const queue = "soak"

// drain publishes a backlog and consumes it. The broker holds the backlog in this
// process, so the live heap must fall while it drains.
func drain(ctx context.Context, n int) (string, error) {
	b := memory.New(memory.Options{})
	defer b.Close()
	if err := b.Declare(memory.Queue{Name: queue}); err != nil {
		return "", err
	}
	empty := live()
	if err := publish(ctx, b, n); err != nil {
		return "", err
	}
	full := live()

	sub, err := b.Subscribe(queue, memory.SubscribeOptions{})
	if err != nil {
		return "", err
	}
	c, err := runtime.New(sub, func(context.Context, *broker.Delivery) error { return nil },
		runtime.Options{Concurrency: 16, Ordering: runtime.OrderKey, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return "", err
	}
	peak := watchPeak(ctx)
	start := time.Now()
	err = until(ctx, c, func(ctx context.Context) error { return b.Drained(ctx, queue) })
	took, most := time.Since(start), peak()
	if err != nil {
		return "", err
	}
	after := live()

	text := fmt.Sprintf(`A backlog of %d messages of 100 B with 1,000 keys, drained in order by key at concurrency 16:

| | |
| --- | ---: |
| time | %s |
| messages/s | %.0f |
| live heap before the backlog, with all of it, after it | %.0f, %.0f, %.0f MiB |
| live heap at its peak while draining | %.0f MiB |

`, n, took.Round(time.Millisecond), float64(n)/took.Seconds(), empty, full, after, most)
	switch margin := 0.1*(full-empty) + 16; {
	case most > full+margin:
		err = fmt.Errorf("drain: the live heap rose from %.0f to %.0f MiB", full, most)
	case after > empty+margin:
		err = fmt.Errorf("drain: %.0f MiB of heap are live afterwards, %.0f were before", after, empty)
	}
	return text, err
}

// publish sends n messages in batches.
func publish(ctx context.Context, b *memory.Broker, n int) error {
	batch := make([]*broker.Message, 0, 100)
	for i := range n {
		batch = append(batch, &broker.Message{Key: fmt.Sprintf("k%03d", i%1000), Body: make([]byte, 100)})
		if len(batch) == cap(batch) || i == n-1 {
			if err := b.Publisher().Publish(ctx, queue, batch...); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return nil
}

// until runs the consumers until done returns, and waits for their end.
func until(ctx context.Context, c *runtime.Consumer, done func(context.Context) error) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- c.Run(running) }()
	if err := done(ctx); err != nil {
		stop()
		return errors.Join(err, <-ended)
	}
	stop()
	if err := <-ended; err != nil {
		return err
	}
	if l := c.Ledger(); !l.Balanced() || l.InFlight != 0 {
		return fmt.Errorf("the ledger of %s does not balance: %+v", c.Name(), l)
	}
	return nil
}
