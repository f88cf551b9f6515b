package brokertest

import (
	"context"
	"sync"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
)

// tampered is a subscription with some of its methods replaced.
type tampered struct {
	broker.Subscription // the true one

	receive      func(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error)
	settle       func(ctx context.Context, settlements []broker.Settlement) error
	extend       func(ctx context.Context, deliveries []*broker.Delivery, by time.Duration) error
	stats        func(ctx context.Context) (broker.Stats, error)
	capabilities func() broker.Capabilities
	close        func(ctx context.Context) error
}

func tamperable(s broker.Subscription) *tampered {
	return &tampered{
		Subscription: s,
		receive:      s.Receive, settle: s.Settle, extend: s.Extend,
		stats: s.Stats, capabilities: s.Capabilities, close: s.Close,
	}
}

func (s *tampered) Receive(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
	return s.receive(ctx, credit)
}

func (s *tampered) Settle(ctx context.Context, settlements []broker.Settlement) error {
	return s.settle(ctx, settlements)
}

func (s *tampered) Extend(ctx context.Context, deliveries []*broker.Delivery, by time.Duration) error {
	return s.extend(ctx, deliveries, by)
}

func (s *tampered) Stats(ctx context.Context) (broker.Stats, error) { return s.stats(ctx) }
func (s *tampered) Capabilities() broker.Capabilities               { return s.capabilities() }
func (s *tampered) Close(ctx context.Context) error                 { return s.close(ctx) }

// tamperedPublisher is a publisher with some of its methods replaced.
type tamperedPublisher struct {
	publish func(ctx context.Context, to string, messages ...*broker.Message) error
	close   func(ctx context.Context) error
}

func (p *tamperedPublisher) Publish(ctx context.Context, to string, messages ...*broker.Message) error {
	return p.publish(ctx, to, messages...)
}

func (p *tamperedPublisher) Close(ctx context.Context) error { return p.close(ctx) }

// ids is a set of message IDs that several goroutines use.
type ids struct {
	mu   sync.Mutex
	seen map[string]bool
}

// add says whether id is new.
func (s *ids) add(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[id] {
		return false
	}
	if s.seen == nil {
		s.seen = make(map[string]bool)
	}
	s.seen[id] = true
	return true
}

// bench is one queue that a mutant tampers with. What is nil is left as it is.
type bench struct {
	memoryQueue
	t    T
	spec QueueSpec

	subscription func(s *tampered)
	deadLetter   func(s *tampered)
	publisher    func(p *tamperedPublisher)
}

// tamperedHarness returns the in-memory broker with tamper applied to each queue.
func tamperedHarness(o memoryOptions, tamper func(b *bench)) Harness {
	h := memoryHarness(o)
	h.NewQueue = func(t T, spec QueueSpec) Queue {
		b := &bench{memoryQueue: newMemoryQueue(t, spec, o), t: t, spec: spec}
		tamper(b)
		q := b.Queue
		q.Subscribe = func(t T) broker.Subscription { return apply(b.Subscribe(t), b.subscription) }
		q.DeadLetters = func(t T) broker.Subscription { return apply(b.DeadLetters(t), b.deadLetter) }
		q.Publisher = func(t T) broker.Publisher {
			p := b.Publisher(t)
			tp := &tamperedPublisher{publish: p.Publish, close: p.Close}
			if b.publisher != nil {
				b.publisher(tp)
			}
			return tp
		}
		q.Kill = func(t T, s broker.Subscription) { b.Kill(t, s.(*tampered).Subscription) }
		return q
	}
	return h
}

func apply(s broker.Subscription, tamper func(*tampered)) broker.Subscription {
	t := tamperable(s)
	if tamper != nil {
		tamper(t)
	}
	return t
}

// together applies several.
func together(tampers ...func(*bench)) func(*bench) {
	return func(b *bench) {
		for _, tamper := range tampers {
			tamper(b)
		}
	}
}

// onSubscription tampers with each subscription, after what was done before.
func onSubscription(f func(b *bench, s *tampered)) func(*bench) {
	return func(b *bench) {
		before := b.subscription
		b.subscription = func(s *tampered) {
			if before != nil {
				before(s)
			}
			f(b, s)
		}
	}
}

// settlements changes each settlement before it is carried out.
func settlements(f func(s *broker.Settlement)) func(*bench) {
	return onSubscription(func(_ *bench, s *tampered) {
		settle := s.settle
		s.settle = func(ctx context.Context, settlements []broker.Settlement) error {
			changed := append([]broker.Settlement(nil), settlements...)
			for i := range changed {
				f(&changed[i])
			}
			return settle(ctx, changed)
		}
	})
}

// settleErrors changes what Settle returns.
func settleErrors(f func(err error, n int) error) func(*bench) {
	return onSubscription(func(_ *bench, s *tampered) {
		settle := s.settle
		s.settle = func(ctx context.Context, settlements []broker.Settlement) error {
			return f(settle(ctx, settlements), len(settlements))
		}
	})
}

// deliveries changes each delivery before it is returned.
func deliveries(f func(d *broker.Delivery)) func(*bench) {
	return onSubscription(func(_ *bench, s *tampered) { s.changeDeliveries(f) })
}

// deadLettersRead changes each delivery of the dead-letter queue.
func deadLettersRead(f func(d *broker.Delivery)) func(*bench) {
	return func(b *bench) { b.deadLetter = func(s *tampered) { s.changeDeliveries(f) } }
}

func (s *tampered) changeDeliveries(f func(d *broker.Delivery)) {
	receive := s.receive
	s.receive = func(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
		ds, err := receive(ctx, credit)
		for i := range ds {
			f(&ds[i])
		}
		return ds, err
	}
}

// claims changes what the adapter says of itself.
func claims(f func(c *broker.Capabilities)) func(*bench) {
	return onSubscription(func(_ *bench, s *tampered) {
		capabilities := s.capabilities
		s.capabilities = func() broker.Capabilities {
			c := capabilities()
			f(&c)
			return c
		}
	})
}

// published replaces Publish.
func published(f func(b *bench, publish publishFunc) publishFunc) func(*bench) {
	return func(b *bench) {
		b.publisher = func(p *tamperedPublisher) { p.publish = f(b, p.publish) }
	}
}

type publishFunc = func(ctx context.Context, to string, messages ...*broker.Message) error

// copies changes each message on its way to the queue; the publisher's own stays
// as it is, identity apart.
func copies(f func(m *broker.Message)) func(*bench) {
	return published(func(_ *bench, publish publishFunc) publishFunc {
		return func(ctx context.Context, to string, messages ...*broker.Message) error {
			changed := make([]*broker.Message, len(messages))
			for i, m := range messages {
				if err := broker.Prepare(m, time.Now()); err != nil {
					return err
				}
				changed[i] = m.Clone()
				f(changed[i])
			}
			return publish(ctx, to, changed...)
		}
	})
}

// republish carries a settlement out by publishing a copy, to the end of the
// queue, and acknowledging: what adapters do whose broker cannot give back.
func (b *bench) republish(ctx context.Context, s *tampered, d *broker.Delivery, change func(m *broker.Message)) error {
	if err := s.Subscription.Settle(ctx, []broker.Settlement{{Delivery: d, Action: broker.Ack}}); err != nil {
		return err
	}
	m := d.Clone()
	change(m)
	return b.broker.Publisher().Publish(ctx, b.Name, m)
}

// one settles a single delivery with the true subscription.
func (s *tampered) one(ctx context.Context, x broker.Settlement) error {
	return s.Subscription.Settle(ctx, []broker.Settlement{x})
}

// eachSettlement replaces Settle by f for one settlement at a time, and reports
// failures as Settle does.
func eachSettlement(f func(ctx context.Context, b *bench, s *tampered, x broker.Settlement) error) func(*bench) {
	return onSubscription(func(b *bench, s *tampered) {
		s.settle = func(ctx context.Context, settlements []broker.Settlement) error {
			var failed []broker.Failed
			for i, x := range settlements {
				if err := f(ctx, b, s, x); err != nil {
					failed = append(failed, broker.Failed{Index: i, Err: err})
				}
			}
			if failed == nil {
				return nil
			}
			return &broker.SettleError{Failed: failed}
		}
	})
}

// inject gives the in-memory broker faults of its own.
func inject(f func() memory.Faults) func(*bench) {
	return func(b *bench) {
		if err := b.broker.Inject(b.Name, f()); err != nil {
			b.t.Fatalf("inject: %v", err)
		}
	}
}
