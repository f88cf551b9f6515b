package brokertest

import (
	"context"
	"errors"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// plenty is credit that no case comes near to.
const plenty = 1 << 26

// consumer is one open subscription.
type consumer struct {
	*env
	sub     broker.Subscription
	caps    broker.Capabilities
	gone    bool     // closed or killed
	pending *pending // the last Receive
}

func newConsumer(e *env, sub broker.Subscription) *consumer {
	c := &consumer{env: e, sub: sub, caps: sub.Capabilities()}
	e.cleanup(func(ctx context.Context) {
		if c.gone {
			return
		}
		c.stopReceiving()
		if err := sub.Close(ctx); err != nil {
			e.Logf("closing a subscription: %v", err)
		}
	})
	return c
}

// close closes the subscription, as its owner does: after its last Receive.
func (c *consumer) close() {
	c.Helper()
	c.stopReceiving()
	c.gone = true
	if err := c.call(c.sub.Close); err != nil {
		c.Errorf("Close: %v", err)
	}
}

// kill ends the consumer as a crash does.
func (q *queue) kill(c *consumer) {
	q.Helper()
	c.stopReceiving()
	c.gone = true
	q.Kill(q.T, c.sub)
}

// needsKill skips the case where the harness cannot kill a consumer.
func (q *queue) needsKill() {
	q.Helper()
	q.needs(q.Kill != nil, "a way to kill a consumer: Queue.Kill is nil")
}

// stopReceiving ends a Receive that is still under way.
func (c *consumer) stopReceiving() {
	if p := c.pending; p != nil {
		p.cancel()
		p.returns(c.h.Patience)
	}
}

// pending is one call of Receive, running in a goroutine of its own.
type pending struct {
	c      *consumer
	cancel context.CancelFunc
	asked  time.Time
	done   chan struct{}
	// Written before done is closed.
	at    time.Time
	ended bool // the context had
	ds    []broker.Delivery
	err   error
}

// start calls Receive with a context that ends after d.
func (c *consumer) start(d time.Duration, credit broker.Credit) *pending {
	ctx, cancel := context.WithTimeout(c.Context(), d)
	p := &pending{c: c, cancel: cancel, asked: time.Now(), done: make(chan struct{})}
	c.pending = p
	go func() {
		defer close(p.done)
		p.ds, p.err = c.sub.Receive(ctx, credit)
		p.at = time.Now()
		p.ended = ctx.Err() != nil
	}()
	return p
}

// returns says whether Receive returned within d.
func (p *pending) returns(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
		return false
	}
}

// result returns what Receive returned, which is expected to have happened or to
// happen soon, and checks what holds for every Receive.
func (p *pending) result() ([]*got, error) {
	c := p.c
	c.Helper()
	if !p.returns(c.h.Patience) {
		c.Fatalf("Receive did not return within %v", c.h.Patience)
	}
	p.cancel()
	switch {
	case p.err != nil && len(p.ds) > 0:
		c.Errorf("Receive returned %d deliveries together with the error %v; it never returns both", len(p.ds), p.err)
	case p.err == nil && len(p.ds) == 0:
		c.Fatalf("Receive returned neither a delivery nor an error; it blocks until it has one")
	case isContextError(p.err) && !p.ended:
		c.Fatalf("Receive returned %v although its context had not ended", p.err)
	}
	gots := make([]*got, len(p.ds))
	for i := range p.ds {
		if p.ds[i].Message == nil {
			c.Fatalf("Receive returned a delivery without a message")
		}
		// A copy: a settlement names a delivery by its value, not by the address
		// that it had in the slice.
		d := p.ds[i]
		gots[i] = &got{Delivery: &d, by: c, asked: p.asked, at: p.at}
	}
	return gots, p.err
}

func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// isFinal says whether the contract calls an error of Receive final.
func isFinal(err error) bool {
	return errors.Is(err, broker.ErrClosed) || errors.Is(err, broker.ErrNotFound) ||
		errors.Is(err, broker.ErrAccessDenied) || errors.Is(err, broker.ErrUnsupported)
}

// receive returns n deliveries of this consumer.
func (c *consumer) receive(n int) []*got {
	c.Helper()
	return c.gather(n, c)
}

// one returns one delivery of this consumer.
func (c *consumer) one() *got {
	c.Helper()
	return c.receive(1)[0]
}

// settle is one call of Settle.
func (c *consumer) settle(settlements ...broker.Settlement) error {
	c.Helper()
	return c.call(func(ctx context.Context) error { return c.sub.Settle(ctx, settlements) })
}

// extend is one call of Extend.
func (c *consumer) extend(by time.Duration, gots ...*got) error {
	c.Helper()
	ds := make([]*broker.Delivery, len(gots))
	for i, g := range gots {
		ds[i] = g.Delivery
	}
	return c.call(func(ctx context.Context) error { return c.sub.Extend(ctx, ds, by) })
}

// stats is one call of Stats.
func (c *consumer) stats() broker.Stats {
	c.Helper()
	var stats broker.Stats
	err := c.call(func(ctx context.Context) (err error) {
		stats, err = c.sub.Stats(ctx)
		return err
	})
	if err != nil {
		c.Fatalf("Stats: %v", err)
	}
	return stats
}

// got is one delivery and how it was come by.
type got struct {
	*broker.Delivery
	by    *consumer
	asked time.Time // when the Receive that returned it was called
	at    time.Time // when that Receive returned
}

// try settles the delivery and returns the error.
func (g *got) try(s broker.Settlement) error {
	g.by.Helper()
	s.Delivery = g.Delivery
	return g.by.settle(s)
}

// settled settles the delivery, or fails, and returns when that began.
func (g *got) settled(s broker.Settlement) time.Time {
	g.by.Helper()
	began := time.Now()
	if err := g.try(s); err != nil {
		g.by.Fatalf("settle %q with %s: %v", g.Body, s.Action, err)
	}
	return began
}

func (g *got) ack() {
	g.by.Helper()
	g.settled(broker.Settlement{Action: broker.Ack})
}

// retry spends one attempt.
func (g *got) retry(after time.Duration) time.Time {
	g.by.Helper()
	return g.settled(broker.Settlement{Action: broker.Retry, After: after, Attempt: g.Attempt + 1})
}

// release spends none.
func (g *got) release(after time.Duration) time.Time {
	g.by.Helper()
	return g.settled(broker.Settlement{Action: broker.Release, After: after, Attempt: g.Attempt, Failure: g.Failure})
}

func (g *got) deadLetter(why *failure.Record) {
	g.by.Helper()
	g.settled(broker.Settlement{Action: broker.DeadLetter, Failure: why})
}

// ackAll acknowledges all, each with its consumer, in batches that it takes.
func ackAll(gots []*got) {
	for _, g := range gots {
		g.by.Helper()
		g.ack()
	}
}
