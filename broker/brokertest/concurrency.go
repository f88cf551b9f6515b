package brokertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

var concurrencyCases = []testCase{
	{name: "EveryMessageEndsExactlyOnce", promise: noSilentLoss, run: everyMessageEndsOnce},
	{name: "ConsumersShareTheWork", promise: backpressure, run: consumersShare},
}

// Many messages, several consumers that receive, settle, extend and ask at the
// same time, and settlements at random: each message is with one consumer at a
// time, is acknowledged or dead-lettered once, and none is lost.
func everyMessageEndsOnce(e *env) {
	rounds := 1
	if e.h.Bubble != nil {
		rounds = 3
	}
	for seed := range rounds {
		if w := e.workload(uint64(seed)); w != nil {
			w.run()
		}
		if e.Failed() {
			e.Logf("in the round with seed %d", seed)
			return
		}
	}
}

const (
	workMessages  = 200
	workConsumers = 3
	workHeld      = 20 // by one consumer at once
	workTries     = 6  // after so many deliveries a message is acknowledged
)

// workload is one round and what is known of its messages.
type workload struct {
	q    *queue
	caps broker.Capabilities
	seed uint64
	stop context.CancelFunc

	mu       sync.Mutex
	messages map[string]*workMessage // by body
	ended    int
	moved    time.Time // when something last happened
	dead     []string
}

type workMessage struct {
	held       bool
	ended      bool
	deliveries int
	attempt    int // expected of the next delivery, where attempts are carried
}

func (e *env) workload(seed uint64) *workload {
	w := &workload{q: e.queue(), seed: seed, messages: make(map[string]*workMessage), moved: time.Now()}
	for i := range workMessages {
		w.messages[fmt.Sprintf("message %d", i)] = &workMessage{attempt: 1}
	}
	return w
}

func (w *workload) run() {
	q := w.q
	consumers := make([]*consumer, workConsumers)
	for i := range consumers {
		consumers[i] = q.consumer()
	}
	w.caps = consumers[0].caps
	ctx, stop := context.WithCancel(q.Context())
	defer stop()
	w.stop = stop

	q.publish(numbered(workMessages)[:workMessages/2]...)
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, m := range numbered(workMessages)[workMessages/2:] {
			if err := q.tryPublish(q.Name, m); err != nil {
				q.Errorf("publish while others consume: %v", err)
			}
		}
	})
	for i, c := range consumers {
		wg.Go(func() { w.consume(ctx, i, c) })
	}
	wg.Go(func() { w.watch(ctx) })
	wg.Wait()
	if q.Failed() {
		return
	}
	q.empty()
	if w.caps.DeadLetters {
		dead := q.deadLetters()
		e := q.env
		e.sameBodies("the dead-letter queue", dead.receiveAndAck(len(w.dead)), w.dead...)
	}
}

// watch ends the round when nothing moves any more.
func (w *workload) watch(ctx context.Context) {
	tick := time.NewTicker(w.q.h.Patience / 10)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.mu.Lock()
		still, ended := time.Since(w.moved), w.ended
		w.mu.Unlock()
		if still > 2*w.q.h.Patience {
			w.q.Errorf("%d of %d messages have ended, and nothing has happened for %v: the rest is lost or hidden",
				ended, workMessages, still)
			w.stop()
			return
		}
	}
}

// consume is one consumer: a goroutine that receives, as many that settle as the
// adapter allows, and one that extends and asks for figures.
func (w *workload) consume(ctx context.Context, index int, c *consumer) {
	batches := make(chan []*got, workHeld) // a batch holds one slot at least
	slots := make(chan struct{}, workHeld)
	extend := make(chan []*got, 1)
	var wg sync.WaitGroup
	for i := range max(1, min(c.caps.SettleCalls, 4)) {
		random := rand.New(rand.NewPCG(w.seed, uint64(10*index+i)))
		wg.Go(func() {
			for batch := range batches {
				w.settle(ctx, c, random, batch)
				for range batch {
					<-slots
				}
			}
		})
	}
	wg.Go(func() { //nolint:contextcheck // what has begun ends as the case does, not as the round
		for batch := range extend {
			if err := c.extend(c.longLease(), batch...); c.caps.Extends && err != nil && !isContextError(err) &&
				!errors.Is(err, broker.ErrLeaseLost) {
				c.Errorf("Extend beside Receive and Settle: %v", err)
			}
			_ = c.call(func(ctx context.Context) error { _, err := c.sub.Stats(ctx); return err })
		}
	})
	random := rand.New(rand.NewPCG(w.seed, uint64(1000+index)))
	for ctx.Err() == nil {
		slots <- struct{}{} // one is free, or becomes free
		free := 1 + min(random.IntN(8), workHeld-len(slots))
		ds, err := c.sub.Receive(ctx, broker.Credit{Messages: free, Bytes: plenty})
		<-slots
		if err != nil && !isContextError(err) {
			c.Errorf("Receive beside Settle and Extend: %v", err)
			w.stop()
			break
		}
		batch := make([]*got, len(ds))
		for i := range ds {
			batch[i] = &got{Delivery: &ds[i], by: c}
			w.received(batch[i])
			slots <- struct{}{}
		}
		if len(batch) == 0 {
			continue
		}
		select {
		case extend <- batch[:min(len(batch), c.caps.MaxExtend)]:
		default:
		}
		batches <- batch
	}
	close(batches)
	close(extend)
	wg.Wait()
}

// received checks a delivery against what is known of its message.
func (w *workload) received(g *got) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.moved = time.Now()
	m := w.messages[string(g.Body)]
	switch {
	case m == nil:
		w.q.Errorf("delivered a message that was not published: %q", g.Body)
		w.messages[string(g.Body)] = &workMessage{held: true}
		return
	case m.ended:
		w.q.Errorf("%q was delivered again although it had ended", g.Body)
	case m.held:
		w.q.Errorf("%q was delivered while another delivery of it was leased", g.Body)
	case w.caps.CarriesAttempts && w.caps.ReleaseIsFree && g.Attempt != m.attempt:
		w.q.Errorf("Attempt of %q is %d, want %d", g.Body, g.Attempt, m.attempt)
	}
	m.held = true
	m.deliveries++
}

// settle settles a batch at random, in calls of what the adapter takes.
func (w *workload) settle(ctx context.Context, c *consumer, random *rand.Rand, batch []*got) {
	for len(batch) > 0 {
		n := 1 + random.IntN(min(len(batch), c.caps.MaxSettle))
		settlements := make([]broker.Settlement, n)
		w.mu.Lock()
		for i, g := range batch[:n] {
			settlements[i] = w.decide(g, random)
		}
		w.mu.Unlock()
		//nolint:contextcheck // what is decided is settled, whatever ends the round
		if err := c.settle(settlements...); err != nil {
			if ctx.Err() == nil {
				c.Errorf("settle %d messages beside other calls: %v", n, err)
				w.stop()
			}
			return
		}
		batch = batch[n:]
		w.mu.Lock()
		w.moved = time.Now()
		if w.ended == workMessages {
			w.stop()
		}
		w.mu.Unlock()
	}
}

// decide chooses a settlement and notes its effect, which another consumer may
// see before Settle has returned. The caller holds mu.
func (w *workload) decide(g *got, random *rand.Rand) broker.Settlement {
	m := w.messages[string(g.Body)]
	action := broker.Ack
	switch r := random.IntN(10); {
	case m.deliveries >= workTries:
	case r < 2:
		action = broker.Retry
	case r < 4:
		action = broker.Release
	case r < 5 && w.caps.DeadLetters:
		action = broker.DeadLetter
	}
	s := settlement(g, action)
	s.Delivery = g.Delivery
	m.held = false
	switch action {
	case broker.Ack, broker.DeadLetter:
		if !m.ended {
			w.ended++
		}
		m.ended = true
		if action == broker.DeadLetter {
			w.dead = append(w.dead, string(g.Body))
		}
	default:
		m.attempt = s.Attempt
	}
	return s
}

// Where the broker hands out single messages, a consumer takes only what it was
// given credit for: what it does not ask for an idle one can have. Where a
// consumer is assigned a share of the queue the runtime sees to that.
func consumersShare(e *env) {
	q := e.queue()
	busy := q.consumer()
	q.publish(numbered(4)...)
	held := busy.poll(e.h.Patience, broker.Credit{Messages: 1, Bytes: plenty}, busy)
	if len(held) != 1 {
		e.Fatalf("got %d messages for a credit of 1 within %v", len(held), e.h.Patience)
	}
	e.needs(held[0].Session == nil, "leases that live on no session: Delivery.Session is set")
	idle := q.consumer()
	ackAll(idle.receive(3))
	ackAll(held)
	q.empty()
}
