package memory

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/anyqueue/anyqueue/broker"
)

// work is a queue with a publisher, for benchmarks.
type work struct {
	*testing.B
	b *Broker
	p *Publisher
}

func newWork(b *testing.B, q Queue) *work {
	b.Helper()
	q.Name = "q"
	br := New(Options{MaxBytes: -1})
	b.Cleanup(br.Close)
	if err := br.Declare(q); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	return &work{b, br, br.Publisher()}
}

func (w *work) subscribe() *Subscription {
	w.Helper()
	s, err := w.b.Subscribe("q", SubscribeOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// batch makes messages of 100 bytes; keyed ones take the keys in turn.
func batch(size int) []*broker.Message {
	ms := make([]*broker.Message, size)
	for i := range ms {
		ms[i] = &broker.Message{ID: fmt.Sprint("message ", i), Body: make([]byte, 100)}
	}
	return ms
}

func (w *work) publish(ms []*broker.Message) {
	if err := w.p.Publish(w.Context(), "q", ms...); err != nil {
		w.Fatal(err)
	}
}

// consume receives and settles n messages in batches of at most size.
func (w *work) consume(s *Subscription, n, size int, settle func(*broker.Delivery) broker.Settlement) {
	xs := make([]broker.Settlement, 0, size)
	for n > 0 {
		ds, err := s.Receive(w.Context(), broker.Credit{Messages: min(n, size), Bytes: 1 << 20})
		if err != nil {
			w.Fatal(err)
		}
		xs = xs[:0]
		for i := range ds {
			xs = append(xs, settle(&ds[i]))
		}
		if err := s.Settle(w.Context(), xs); err != nil {
			w.Fatal(err)
		}
		n -= len(ds)
	}
}

func ack(d *broker.Delivery) broker.Settlement {
	return broker.Settlement{Delivery: d, Action: broker.Ack}
}

func keys(n int) []string {
	ks := make([]string, n)
	for i := range ks {
		ks[i] = fmt.Sprint("key ", i)
	}
	return ks
}

// BenchmarkRoundTrip publishes, receives and acknowledges in batches; numbers are
// those of one message.
func BenchmarkRoundTrip(b *testing.B) {
	for _, c := range []struct{ size, keys int }{{1, 0}, {10, 0}, {100, 0}, {100, 1000}} {
		b.Run(fmt.Sprintf("batch=%d/keys=%d", c.size, c.keys), func(b *testing.B) {
			w := newWork(b, Queue{})
			s, ms, ks := w.subscribe(), batch(c.size), keys(c.keys)
			for i := 0; i < b.N; i += c.size {
				for j := range ms {
					if c.keys > 0 {
						ms[j].Key = ks[(i+j)%c.keys]
					}
				}
				w.publish(ms)
				w.consume(s, c.size, c.size, ack)
			}
		})
	}
}

// BenchmarkBacklog does the same in front of a backlog: the cost of a message
// does not depend on how many wait, with one key, a key each, or none.
func BenchmarkBacklog(b *testing.B) {
	const backlog, size = 1_000_000, 100
	for _, c := range []struct {
		name string
		keys int
	}{{"no key", 0}, {"one key", 1}, {"a thousand keys", 1000}, {"a million keys", backlog}} {
		b.Run(c.name, func(b *testing.B) {
			w := newWork(b, Queue{})
			s, ms, ks := w.subscribe(), batch(size), keys(c.keys)
			publish := func(i int) {
				for j := range ms {
					if c.keys > 0 {
						ms[j].Key = ks[(i+j)%c.keys]
					}
				}
				w.publish(ms)
			}
			for i := 0; i < backlog; i += size {
				publish(i)
			}
			b.ResetTimer()
			for i := 0; i < b.N; i += size {
				publish(i)
				w.consume(s, size, size, ack)
			}
		})
	}
}

// BenchmarkRetry gives every message back once, with a delay that has ended when
// it asks again, before it is acknowledged.
func BenchmarkRetry(b *testing.B) {
	const size = 100
	w := newWork(b, Queue{})
	s, ms := w.subscribe(), batch(size)
	for i := 0; i < b.N; i += size {
		w.publish(ms)
		w.consume(s, 2*size, size, func(d *broker.Delivery) broker.Settlement {
			if d.Attempt > 1 {
				return ack(d)
			}
			return broker.Settlement{Delivery: d, Action: broker.Retry, Attempt: 2, After: 1}
		})
	}
}

// BenchmarkHandover is one message at a time to a consumer that waits for it.
func BenchmarkHandover(b *testing.B) {
	w := newWork(b, Queue{})
	s, ms := w.subscribe(), batch(1)
	var wg sync.WaitGroup
	wg.Go(func() { w.consume(s, b.N, 1, ack) })
	for range b.N {
		w.publish(ms)
	}
	wg.Wait()
}

// BenchmarkConsumers has four consumers compete for what two publishers send.
func BenchmarkConsumers(b *testing.B) {
	const size = 50
	w := newWork(b, Queue{})
	n := (b.N + 2*size - 1) / (2 * size) * size // for each publisher
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			ms := batch(size)
			for range n / size {
				w.publish(ms)
			}
		})
	}
	var left atomic.Int64
	left.Store(int64(2 * n / size))
	for range 4 {
		s := w.subscribe()
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				w.consume(s, size, size, ack)
			}
		})
	}
	wg.Wait()
}
