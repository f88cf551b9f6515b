package memory

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// observer watches concurrent consumers: who holds what until when.
type observer struct {
	t       *testing.T
	mu      sync.Mutex
	held    map[string]*broker.Delivery // message or key: the last that got it, unless released
	done    map[string]int              // acknowledged or dead-lettered
	handled map[string]int              // the last number acknowledged of each key
}

func (o *observer) receive(d *broker.Delivery) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, what := range []string{"message " + d.ID, "key " + d.Key} {
		if what == "key " {
			continue
		}
		if h := o.held[what]; h != nil && time.Now().Before(h.LeaseUntil) && (h.Session == nil || h.Session.Cause() == nil) {
			o.t.Errorf("%s was delivered %s before another's lease of %s ended", d.ID, time.Until(h.LeaseUntil), what)
		}
		o.held[what] = d
	}
	if o.done[d.ID] > 0 {
		o.t.Errorf("%s was delivered after it was done", d.ID)
	}
}

// release is called before a settlement: from then on others may have it.
func (o *observer) release(d *broker.Delivery) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, what := range []string{"message " + d.ID, "key " + d.Key} {
		if o.held[what] == d {
			delete(o.held, what)
		}
	}
}

func (o *observer) finish(d *broker.Delivery, number int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done[d.ID]++
	if d.Key != "" {
		if last := o.handled[d.Key]; number <= last {
			o.t.Errorf("key %s: %d was done after %d", d.Key, number, last)
		}
		o.handled[d.Key] = number
	}
}

// Several consumers that crash, lose connections, retry, release and give up
// waiting, beside publishers: nothing is lost, nothing is delivered to two at
// once, keys keep their order, nothing ready is left lying while somebody waits.
func TestNothingIsLostOrHeldTwiceUnderLoad(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inBubbleWith(t, Queue{Lease: time.Second}, SubscribeOptions{SessionLeases: seed%2 == 0}, func(b *bench) { load(b, seed) })
		})
	}
}

func load(b *bench, seed uint64) {
	const publishers, each, consumers = 3, 200, 5
	o := &observer{t: b.T, held: map[string]*broker.Delivery{}, done: map[string]int{}, handled: map[string]int{}}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(p)))
			for i := range each {
				m := &broker.Message{ID: fmt.Sprint(p, " ", i), SchemaVersion: i + 1}
				if r.IntN(3) > 0 {
					m.Key = fmt.Sprint(p, " ", r.IntN(4))
				}
				if err := b.p.Publish(ctx, "q", m); err != nil {
					b.Error(err)
				}
				time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond)
			}
		})
	}
	for c := range consumers {
		s := b.subscribe("q", b.s.opts)
		wg.Go(func() { consume(ctx, o, s, rand.New(rand.NewPCG(seed, uint64(100+c)))) })
	}
	drained := make(chan error)
	go func() {
		time.Sleep(time.Second)
		drained <- b.Drained(ctx, "q")
	}()
	tooLong := time.After(time.Hour)
	for waiting := true; waiting; {
		select {
		case err := <-drained:
			waiting = false
			if err != nil {
				b.Fatal(err)
			}
		case <-time.After(7 * time.Millisecond):
			synctest.Wait() // everybody works (sleeps) or waits for messages
			b.mu.Lock()
			if q := b.queues["q"]; q.ready > 0 && len(q.line.waiters) > 0 {
				b.Errorf("%d messages are ready while %d Receives wait", q.ready, len(q.line.waiters))
			}
			b.mu.Unlock()
		case <-tooLong:
			b.Fatal("not drained after an hour")
		}
	}
	cancel()
	wg.Wait()
	if n := len(o.done); n != publishers*each {
		b.Errorf("%d messages are done, want %d", n, publishers*each)
	}
}

func consume(ctx context.Context, o *observer, s *Subscription, r *rand.Rand) {
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, time.Duration(1+r.IntN(100))*time.Millisecond)
		ds, err := s.Receive(try, broker.Credit{Messages: 1 + r.IntN(4), Bytes: 1000})
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			o.t.Error(err)
		}
		for i := range ds {
			o.receive(&ds[i])
		}
		if r.IntN(40) == 0 {
			s.Disconnect()
			time.Sleep(time.Duration(r.IntN(5)) * time.Millisecond)
			s.Reconnect()
		}
		for i := range ds {
			time.Sleep(time.Duration(1+r.IntN(4)) * time.Millisecond)
			settleOne(ctx, o, s, &ds[i], r)
		}
	}
}

func settleOne(ctx context.Context, o *observer, s *Subscription, d *broker.Delivery, r *rand.Rand) {
	x := broker.Settlement{Delivery: d, Attempt: 1, After: time.Duration(r.IntN(20)) * time.Millisecond, Failure: record("x")}
	switch r.IntN(12) {
	case 0: // crashed; the lease has to end
		return
	case 1:
		x.Action = broker.Retry
	case 2:
		x.Action = broker.Release
	case 3:
		x.Action = broker.DeadLetter
	default:
		x.Action = broker.Ack
	}
	o.release(d)
	// Before finish another consumer may get the key's next message, but cannot
	// have settled it: it sleeps first, and time stands still until all others do.
	if err := s.Settle(ctx, []broker.Settlement{x}); err != nil {
		if !errors.Is(err, broker.ErrLeaseLost) && !errors.Is(err, context.Canceled) {
			o.t.Error(err)
		}
		return
	}
	if x.Action == broker.Ack || x.Action == broker.DeadLetter {
		o.finish(d, d.SchemaVersion)
	}
}
