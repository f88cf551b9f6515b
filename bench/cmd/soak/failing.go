package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

// window is how many messages are published and not yet settled, about.
const window = 4096

// failing runs a consumer whose handler fails in every way, while another takes
// the dead letters. Every message must end acknowledged or dead-lettered, and
// memory must not grow.
func failing(ctx context.Context, long time.Duration) (string, error) {
	b := memory.New(memory.Options{})
	defer b.Close()
	// The dead-letter queue first: as a queue with a consumer it needs one of its own.
	for _, name := range []string{queue + ".dlq", queue} {
		if err := b.Declare(memory.Queue{Name: name}); err != nil {
			return "", err
		}
	}
	silent := slog.New(slog.DiscardHandler)
	sub, err := b.Subscribe(queue, memory.SubscribeOptions{})
	if err != nil {
		return "", err
	}
	work, err := runtime.New(sub, unreliable, runtime.Options{
		Name: "work", Concurrency: 16, Ordering: runtime.OrderKey, Timeout: time.Second, Logger: silent,
		Retry: runtime.RetryPolicy{Backoff: runtime.Backoff{Initial: time.Millisecond, Max: 20 * time.Millisecond}},
	})
	if err != nil {
		return "", err
	}
	deadSub, err := b.Subscribe(queue+".dlq", memory.SubscribeOptions{})
	if err != nil {
		return "", err
	}
	dead, err := runtime.New(deadSub, func(context.Context, *broker.Delivery) error { return nil },
		runtime.Options{Name: "dead", Logger: silent})
	if err != nil {
		return "", err
	}

	var m meter
	start := time.Now()
	err = until(ctx, dead, func(ctx context.Context) error {
		err := until(ctx, work, func(ctx context.Context) error { return m.feed(ctx, b, work, long) })
		return errors.Join(err, b.Drained(ctx, queue+".dlq"))
	})
	took := time.Since(start)
	l := work.Ledger()
	text := fmt.Sprintf(`A handler that fails in one message of fifty (errors, panics, dead letters, releases, drops), order by key,
concurrency 16:

| | |
| --- | ---: |
| time | %s |
| messages published, per second | %d, %.0f |
| acked, of them dropped | %d, %d |
| dead-lettered | %d |
| settled as retry, as release | %d, %d |
| leases lost | %d |
| live heap after a quarter, at the end | %.1f, %.1f MiB |
| live heap at its peak | %.1f MiB |

`, took.Round(time.Second), m.published, float64(m.published)/took.Seconds(),
		l.Acked, l.Dropped, l.DeadLettered, l.Retried, l.Released, l.Lost, m.early, m.late, m.peak)
	return text, errors.Join(err, m.check(l, dead.Ledger()))
}

// unreliable fails by chance.
func unreliable(context.Context, *broker.Delivery) error {
	switch n := rand.IntN(1000); {
	case n < 10:
		return errors.New("boom")
	case n < 12:
		panic("boom")
	case n < 14:
		return runtime.DeadLetter(errors.New("not for us"))
	case n < 16:
		return runtime.Release(time.Millisecond, "not now")
	case n < 18:
		return runtime.Drop("obsolete")
	case n < 20:
		return runtime.RetryAfter(time.Millisecond, errors.New("busy"))
	default:
		return nil
	}
}

// meter publishes, and measures the process meanwhile.
type meter struct {
	published         int64
	early, late, peak float64 // MiB
}

// feed publishes for so long as the queue takes it, and returns when all of it
// was handled.
func (m *meter) feed(ctx context.Context, b *memory.Broker, c *runtime.Consumer, long time.Duration) error {
	peak := watchPeak(ctx)
	defer func() { m.peak = peak() }()
	batch := make([]*broker.Message, 64)
	quarter, end := time.After(long/4), time.After(long)
	for {
		select {
		case <-quarter:
			m.early = live()
		case <-end:
			m.late = live()
			return b.Drained(ctx, queue)
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		s, err := b.Stats(queue)
		if err != nil {
			return err
		}
		if l := c.Ledger(); !l.Balanced() {
			return fmt.Errorf("the ledger does not balance: %+v", l)
		}
		if s.Total() > window-len(batch) {
			<-time.After(100 * time.Microsecond)
			continue
		}
		for i := range batch {
			batch[i] = &broker.Message{Key: fmt.Sprintf("k%03d", rand.IntN(1000)), Body: make([]byte, 100)}
		}
		if err := b.Publisher().Publish(ctx, queue, batch...); err != nil {
			return err
		}
		m.published += int64(len(batch))
	}
}

// check accounts for every message.
func (m *meter) check(work, dead runtime.Ledger) error {
	var faults []error
	if ended := work.Acked + work.DeadLettered; ended != m.published {
		faults = append(faults, fmt.Errorf("failing: %d messages were published and %d ended", m.published, ended))
	}
	if dead.Acked != work.DeadLettered {
		faults = append(faults, fmt.Errorf("failing: %d messages were dead-lettered and %d arrived", work.DeadLettered, dead.Acked))
	}
	if m.late > m.early+16 {
		faults = append(faults, fmt.Errorf("failing: the live heap grew from %.1f to %.1f MiB", m.early, m.late))
	}
	return errors.Join(faults...)
}
