package brokertest

import (
	"context"
	"errors"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// env is one running case.
type env struct {
	T
	h Harness // defaults filled in
}

// needs skips the case unless the capability is there. what completes the
// sentence "needs ...".
func (e *env) needs(ok bool, what string) {
	e.Helper()
	if !ok {
		e.Skipf("brokertest: needs %s", what)
	}
}

// sleep waits for d.
func (e *env) sleep(d time.Duration) {
	e.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-e.Context().Done():
		e.Fatalf("the test's context ended during a wait of %v", d)
	}
}

// eventually waits until ok returns true, or fails after Patience.
func (e *env) eventually(what string, ok func() bool) {
	e.Helper()
	for deadline := time.Now().Add(e.h.Patience); !ok(); e.sleep(e.h.Patience / 200) {
		if time.Now().After(deadline) {
			e.Fatalf("%s: not within %v", what, e.h.Patience)
		}
	}
}

// call runs f with a context that ends after Patience.
func (e *env) call(f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(e.Context(), e.h.Patience)
	defer cancel()
	return f(ctx)
}

// cleanup registers f with a context of its own, because the case's has ended
// by then.
func (e *env) cleanup(f func(ctx context.Context)) {
	e.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(e.Context()), e.h.Patience)
		defer cancel()
		f(ctx)
	})
}

// queue is the queue of one case and what the case has opened on it.
type queue struct {
	*env
	Queue
	spec      QueueSpec
	publisher broker.Publisher
	consumers []*consumer // those that are open, polled by receive and nothing
}

// longLease is a lease that no case lives to see the end of: what comes back
// while it runs was given back.
func (e *env) longLease() time.Duration { return 6 * e.h.Patience }

// queue makes a queue with a long lease.
func (e *env) queue(set ...func(*QueueSpec)) *queue {
	e.Helper()
	spec := QueueSpec{Lease: e.longLease()}
	spec.Intent = broker.Intent{
		MaxAttempts:  20,
		MaxAbandoned: 20,
		Delays:       []time.Duration{e.h.Delay, 2 * e.h.Delay, 3 * e.h.Delay, 4 * e.h.Delay},
		MaxInFlight:  100,
	}
	for _, f := range set {
		f(&spec)
	}
	q := &queue{env: e, Queue: e.h.NewQueue(e.T, spec), spec: spec}
	if err := q.validate(); err != nil {
		e.Fatalf("brokertest: the harness made a queue that cannot be used:\n%v", err)
	}
	if q.Missing == "" {
		q.Missing = q.Name + "-missing"
	}
	return q
}

// leased asks for the short lease, whose end the case waits for.
func (e *env) leased(s *QueueSpec) { s.Lease = e.h.Lease }

// ordered asks for the order of keys.
func (e *env) ordered(s *QueueSpec) { s.Intent.Ordered = true }

// consumer opens one more consumer.
func (q *queue) consumer() *consumer {
	q.Helper()
	sub := q.Subscribe(q.T)
	if sub == nil {
		q.Fatalf("brokertest: Queue.Subscribe returned nil")
	}
	c := newConsumer(q.env, sub)
	if c.caps.Lease > 0 && c.caps.Lease < q.spec.Lease {
		q.Fatalf("brokertest: the case asked for a lease of %v and got Capabilities.Lease of %v; "+
			"raise it in Harness.NewQueue or lower Harness.Patience or Harness.Lease", q.spec.Lease, c.caps.Lease)
	}
	q.consumers = append(q.consumers, c)
	return c
}

// deadLetters opens a consumer of the dead-letter queue.
func (q *queue) deadLetters() *consumer {
	q.Helper()
	if q.DeadLetters == nil {
		q.Fatalf("brokertest: Queue.DeadLetters is nil although Capabilities.DeadLetters is true")
	}
	return newConsumer(q.env, q.DeadLetters(q.T))
}

// tryPublish publishes with a publisher that is opened once per queue.
func (q *queue) tryPublish(to string, messages ...*broker.Message) error {
	q.Helper()
	if q.publisher == nil {
		q.publisher = q.Publisher(q.T)
		q.cleanup(func(ctx context.Context) {
			if err := q.publisher.Close(ctx); err != nil && !errors.Is(err, broker.ErrClosed) {
				q.Logf("closing the publisher: %v", err)
			}
		})
	}
	return q.call(func(ctx context.Context) error { return q.publisher.Publish(ctx, to, messages...) })
}

// publish publishes to the queue and returns when all is confirmed.
func (q *queue) publish(messages ...*broker.Message) {
	q.Helper()
	if err := q.tryPublish(q.Name, messages...); err != nil {
		q.Fatalf("publish %d messages to %q: %v", len(messages), q.Name, err)
	}
}

// open returns the consumers that are open.
func (q *queue) open() []*consumer {
	var open []*consumer
	for _, c := range q.consumers {
		if !c.gone {
			open = append(open, c)
		}
	}
	return open
}

// receive returns n deliveries, from whichever open consumer gets them.
func (q *queue) receive(n int) []*got {
	q.Helper()
	return q.gather(n, q.open()...)
}

// one returns one delivery, from whichever open consumer gets it.
func (q *queue) one() *got {
	q.Helper()
	return q.receive(1)[0]
}

// nothing fails if any open consumer is given anything for d.
func (q *queue) nothing(d time.Duration) {
	q.Helper()
	q.watch(d, q.open()...)
}

// empty fails if the queue delivers anything soon. Nothing may be leased.
func (q *queue) empty() {
	q.Helper()
	q.nothing(q.h.Quiet)
}

// needsLease skips the case unless leases end by themselves in bearable time,
// and returns how long they are.
func (c *consumer) needsLease() time.Duration {
	c.Helper()
	c.needs(c.caps.Lease > 0, "a lease that ends by itself: Capabilities.Lease is 0")
	if c.caps.Lease > c.h.LongestWait {
		c.Skipf("brokertest: needs a lease that can be waited for: Capabilities.Lease is %v, Harness.LongestWait %v",
			c.caps.Lease, c.h.LongestWait)
	}
	return c.caps.Lease
}
