package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
)

// The load is the same for every contender.
const (
	// Batch is the most messages that one call publishes.
	Batch = 64
	// Keys is how many ordering keys there are in keyed cases. Messages take them
	// at random, so that about one in four meets another of its key in the window.
	Keys = 1000
	// prepared is how many messages are made before a run and published in turn.
	// More than any window, so that none is published again before it was handled.
	prepared = 2 * Backlog
	// Backlog is the window of the cases that ask what a backlog costs.
	Backlog = 2048
)

// Case is one setting in which contenders are compared.
type Case struct {
	Keyed       bool
	Concurrency int // handlers at once
	Body        int // bytes
	// Window is the most messages that are published and not yet handled.
	Window int
}

// NewCase returns a case with the usual window: enough to keep all handlers
// busy, and no backlog (which costs Watermill, with three goroutines for each
// message, more than anybody else).
func NewCase(keyed bool, concurrency, body int) Case {
	return Case{keyed, concurrency, body, max(256, 4*concurrency)}
}

// Cases returns all cases with the usual window.
func Cases() []Case {
	var cases []Case
	for _, keyed := range []bool{false, true} {
		for _, concurrency := range []int{1, 16, 256} {
			for _, body := range []int{100, 1024} {
				cases = append(cases, NewCase(keyed, concurrency, body))
			}
		}
	}
	return cases
}

func (c Case) String() string {
	order := "no order"
	if c.Keyed {
		order = "order by key"
	}
	s := fmt.Sprintf("%s, concurrency %d, body %d B", order, c.Concurrency, c.Body)
	if c.Window != NewCase(c.Keyed, c.Concurrency, c.Body).Window {
		s += fmt.Sprintf(", window %d", c.Window)
	}
	return s
}

// Item is what a message carries, before a contender makes its own message of it.
type Item struct {
	ID   string
	Key  string
	Body []byte
}

// Items returns the load of a case, the same on every call.
func (c Case) Items() []Item {
	rng := rand.New(rand.NewPCG(1, 2))
	items := make([]Item, prepared)
	for i := range items {
		items[i] = Item{
			ID:   fmt.Sprintf("0190f3a5-0000-7000-8000-%012d", i), // the form of a UUIDv7
			Body: make([]byte, c.Body),
		}
		if c.Keyed {
			items[i].Key = fmt.Sprintf("order-%04d", rng.IntN(Keys))
		}
	}
	return items
}

// Handle is the handler's whole work: what it was given, told to whoever counts.
type Handle func(key string, body []byte)

// Pipe is a contender that is running: its consumer waits for messages.
type Pipe interface {
	// Publish sends items [from, to) of those that it was started with. One
	// goroutine calls it.
	Publish(ctx context.Context, from, to int) error
	// Stop ends the consumer and waits for it. It reports an error when a message
	// was handled and not acknowledged.
	Stop() error
}

// Run publishes n messages and returns when the handler has returned for all.
// The pipe must have been started with flow.Done as, or within, its handler.
func Run(ctx context.Context, p Pipe, flow *Flow, n int) error {
	flow.start(n)
	for sent := 0; sent < n; {
		from := sent % prepared
		to := min(from+Batch, from+n-sent, prepared)
		if err := flow.await(ctx, int64(sent+to-from)-flow.window); err != nil {
			return err
		}
		if err := p.Publish(ctx, from, to); err != nil {
			return fmt.Errorf("publish messages %d to %d: %w", sent, sent+to-from, err)
		}
		sent += to - from
	}
	return flow.await(ctx, int64(n))
}

// Flow keeps the publisher within the window.
type Flow struct {
	window int64
	done   atomic.Int64
	total  atomic.Int64
	wake   chan struct{}
}

// NewFlow returns a flow for one pipe; it serves one Run at a time. The window
// is at least two batches, so that one is published while the other is handled.
func NewFlow(window int) *Flow {
	return &Flow{window: int64(max(window, 2*Batch)), wake: make(chan struct{}, 1)}
}

// Done counts a handled message. It is safe for concurrent use.
func (f *Flow) Done() {
	// Waking once per batch is enough: when every message that was sent is done,
	// less than a batch of them came after the last wake-up.
	if n := f.done.Add(1); n%Batch == 0 || n == f.total.Load() {
		select {
		case f.wake <- struct{}{}:
		default: // one is waiting already
		}
	}
}

func (f *Flow) start(n int) {
	f.done.Store(0)
	f.total.Store(int64(n))
}

// await returns when at least n messages are done.
func (f *Flow) await(ctx context.Context, n int64) error {
	for f.done.Load() < n {
		select {
		case <-f.wake:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d messages handled: %w", f.done.Load(), f.total.Load(), context.Cause(ctx))
		}
	}
	return nil
}
