package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

// seeds is how many schedules are tried; ANYQUEUE_SEEDS overrides it, and
// ANYQUEUE_SEED runs a single one.
func seeds(t *testing.T) (first, count uint64) {
	if s, err := strconv.ParseUint(os.Getenv("ANYQUEUE_SEED"), 10, 64); err == nil {
		return s, 1
	}
	if n, err := strconv.ParseUint(os.Getenv("ANYQUEUE_SEEDS"), 10, 64); err == nil && n > 0 {
		return 0, n
	}
	if raceEnabled || testing.Short() { // ten times slower, and 1,000 schedules show a race as well
		return 0, 1_000
	}
	return 0, 10_000
}

// Whatever goes wrong, and in whatever order: the ledger balances at every
// moment, what is in flight stays within its bounds, no message is lost, none is
// run more often than its budget and the times it was abandoned allow, and the
// messages of a key are settled in order.
func TestRandomFaultsKeepThePromises(t *testing.T) {
	const shards = 4
	first, count := seeds(t)
	for shard := range uint64(shards) {
		t.Run(fmt.Sprintf("shard %d", shard), func(t *testing.T) {
			t.Parallel()
			for seed := first + shard; seed < first+count && !t.Failed(); seed += shards {
				synctest.Test(t, func(t *testing.T) { newTrial(t, seed).run() })
			}
		})
	}
}

// trial is one random schedule.
type trial struct {
	*testing.T
	seed    uint64
	rng     *rand.Rand // under mu: handlers and hooks use it too
	mu      sync.Mutex
	broker  *memory.Broker
	queue   memory.Queue
	options runtime.Options
	session bool
	batch   bool
	faulty  bool // faults that lose leases are possible
	alone   bool // there is never more than one consumer
	fault   float64
	latency int // of calls, in ms at the most

	workers  []*trialWorker
	messages map[string]*life
	keys     map[string][]string // ids in publication order
}

type trialWorker struct {
	*runtime.Consumer
	sub    *memory.Subscription
	stop   context.CancelFunc
	done   chan struct{}
	inside gauge
}

// life is what was seen of one message.
type life struct {
	key       string
	index     int // in its key
	runs      int
	releases  int // runs that ended in giving it back
	abandoned int // times that it came back unsettled
	done      bool
	running   int
}

func newTrial(t *testing.T, seed uint64) *trial {
	rng := rand.New(rand.NewPCG(seed, 1))
	x := &trial{
		T: t, seed: seed, rng: rng, broker: memory.New(memory.Options{}),
		messages: map[string]*life{}, keys: map[string][]string{},
	}
	x.session = rng.IntN(3) == 0
	quick := runtime.Backoff{Initial: 100 * time.Millisecond, Max: time.Second, Factor: 2} // within the shortest lease
	x.batch = rng.IntN(4) == 0
	x.alone = rng.IntN(3) == 0
	x.queue = memory.Queue{Name: "q", Lease: time.Duration(2+rng.IntN(20)) * time.Second}
	x.queue.Without.Extend = rng.IntN(4) == 0
	x.queue.Without.KeyOrder = rng.IntN(2) == 0
	x.queue.Without.Delay = rng.IntN(4) == 0
	x.queue.Without.Failure = rng.IntN(4) == 0
	x.options = runtime.Options{
		Concurrency:  1 + rng.IntN(4),
		Logger:       quiet,
		StatsEvery:   -1,
		DrainTimeout: time.Duration(rng.IntN(10)) * time.Second,
		StopTimeout:  time.Minute,
		MaxAbandoned: -1,
		MaxLease:     time.Duration(30+rng.IntN(60)) * time.Second,
		Retry: runtime.RetryPolicy{
			MaxAttempts: 1 + rng.IntN(5),
			Backoff:     quick,
			Classes:     map[failure.Class]runtime.ClassPolicy{failure.ClassDependency: {Backoff: quick}},
		},
	}
	if x.alone {
		// Whoever has to give a message back because its lease ends is overtaken by
		// what a broker without an order of keys delivers next.
		x.options.MaxLease = time.Hour
	}
	if x.batch {
		x.options.BatchWait = time.Duration(1+rng.IntN(250)) * time.Millisecond
	}
	x.options.MaxInFlight = x.options.Concurrency + rng.IntN(8)
	x.options.MaxInFlightBytes = 100 + rng.IntN(2000)
	if rng.IntN(2) == 0 {
		x.options.Ordering = runtime.OrderKey
	}
	if rng.IntN(3) == 0 {
		x.options.Timeout = time.Duration(100+rng.IntN(1500)) * time.Millisecond
	}
	x.latency = rng.IntN(2) * rng.IntN(100)
	if x.faulty = rng.IntN(3) > 0; x.faulty {
		x.fault = rng.Float64() * 0.3
	}
	return x
}

func (x *trial) chance(p float64) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.rng.Float64() < p
}

func (x *trial) intN(n int) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.rng.IntN(n)
}

func (x *trial) fail(format string, args ...any) {
	x.Errorf("seed %d: %s (run it alone with ANYQUEUE_SEED=%d)", x.seed, fmt.Sprintf(format, args...), x.seed)
}

func (x *trial) run() {
	defer x.broker.Close()
	if err := x.broker.Declare(x.queue); err != nil {
		x.Fatal(err)
	}
	x.inject(x.fault)
	x.publish(5 + x.intN(25))
	for range 1 + x.intN(3) {
		if !x.alone || len(x.workers) == 0 {
			x.start()
		}
	}
	for range 20 {
		time.Sleep(time.Duration(x.intN(3000)) * time.Millisecond)
		synctest.Wait()
		x.checkBounds()
		x.disturb()
	}
	// The faults end, and everything has to come to rest.
	x.inject(0)
	for _, w := range x.workers {
		w.sub.Reconnect()
	}
	if len(x.workers) == 0 {
		x.start()
	}
	for range 60 {
		time.Sleep(time.Minute)
		synctest.Wait()
		x.checkBounds()
		if s, err := x.broker.Stats("q"); err == nil && s.Total() == 0 {
			break
		}
	}
	for len(x.workers) > 0 {
		x.shutdown(0)
	}
	x.checkEnds()
}

// inject makes every call fail with a probability, in all the ways there are.
func (x *trial) inject(p float64) {
	slow := func(h memory.Hook) memory.Hook {
		return func(ctx context.Context, op memory.Op) memory.Fault {
			if x.latency > 0 {
				time.Sleep(time.Duration(1+x.intN(x.latency)) * time.Millisecond)
			}
			return h(ctx, op)
		}
	}
	hook := func(faults ...memory.Fault) memory.Hook {
		return func(context.Context, memory.Op) memory.Fault {
			if p == 0 || !x.chance(p) {
				return memory.Fault{}
			}
			return faults[x.intN(len(faults))]
		}
	}
	fail := memory.Fail(broker.ErrDisconnected)
	late := memory.LoseResponse(broker.ErrDisconnected)
	settle := hook(fail, late, memory.LoseRequest())
	f := memory.Faults{
		Deliver: func(_ context.Context, op memory.Op) memory.Fault {
			x.delivered(op.Delivery)
			return memory.Fault{}
		},
		ReceiveCall: slow(hook(fail)),
		SettleCall:  slow(hook(fail, late)),
		ExtendCall:  slow(hook(fail, late)),
		Settle: func(ctx context.Context, op memory.Op) memory.Fault {
			x.settled(op.Settlement)
			return settle(ctx, op)
		},
		Extend: hook(fail, memory.Fail(broker.ErrLeaseLost), memory.LoseRequest()),
	}
	if err := x.broker.Inject("q", f); err != nil {
		x.Fatal(err)
	}
}

func (x *trial) publish(n int) {
	for range n {
		m := &broker.Message{Body: make([]byte, x.intN(100))}
		if x.chance(0.7) {
			m.Key = fmt.Sprint("key", x.intN(3))
		}
		m.ID = fmt.Sprint("m", len(x.messages))
		x.mu.Lock()
		x.messages[m.ID] = &life{key: m.Key, index: len(x.keys[m.Key])}
		x.keys[m.Key] = append(x.keys[m.Key], m.ID)
		x.mu.Unlock()
		if err := x.broker.Publisher().Publish(x.Context(), "q", m); err != nil {
			x.Fatal(err)
		}
	}
}

func (x *trial) start() {
	sub, err := x.broker.Subscribe("q", memory.SubscribeOptions{
		SessionLeases: x.session, MaxSettle: 1 + x.intN(20), MaxExtend: 1 + x.intN(20),
		SettleCalls: 1 + x.intN(3), SettleLinger: time.Duration(x.intN(3)*50) * time.Millisecond,
	})
	if err != nil {
		x.Fatal(err)
	}
	w := &trialWorker{sub: sub, done: make(chan struct{})}
	if x.batch {
		w.Consumer, err = runtime.NewBatch(sub, func(ctx context.Context, batch []*broker.Delivery) error {
			defer w.inside.enter()()
			return x.handleBatch(ctx, batch)
		}, x.options)
	} else {
		w.Consumer, err = runtime.New(sub, func(ctx context.Context, d *broker.Delivery) error {
			defer w.inside.enter()()
			return x.handle(ctx, d)
		}, x.options)
	}
	if err != nil {
		x.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	go func() {
		defer close(w.done)
		// What could not be settled because the broker failed is an error, and right.
		_ = w.Run(ctx)
	}()
	x.workers = append(x.workers, w)
}

// disturb stops or starts a consumer, cuts or mends a connection, publishes more.
func (x *trial) disturb() {
	switch x.intN(8) {
	case 0:
		if len(x.workers) > 0 {
			x.shutdown(x.intN(len(x.workers)))
		}
	case 1:
		if len(x.workers) < 3 && (!x.alone || len(x.workers) == 0) {
			x.start()
		}
	case 2:
		x.publish(x.intN(3))
	case 3:
		if x.faulty && len(x.workers) > 0 {
			x.workers[x.intN(len(x.workers))].sub.Disconnect()
		}
	case 4:
		for _, w := range x.workers {
			w.sub.Reconnect()
		}
	}
}

func (x *trial) shutdown(i int) {
	w := x.workers[i]
	x.workers = append(x.workers[:i:i], x.workers[i+1:]...)
	w.stop()
	<-w.done
	if l := w.Ledger(); !l.Balanced() || l.InFlight != 0 {
		x.fail("after Run: %+v", l)
	}
}

func (x *trial) checkBounds() {
	for _, w := range x.workers {
		s := w.Stats()
		sum := s.Running + s.Ready + s.Blocked + s.Held + s.Settling
		if !s.Ledger.Balanced() || int64(sum) != s.Ledger.InFlight {
			x.fail("the ledger does not balance: %+v", s)
		}
		if sum > x.options.MaxInFlight || s.Bytes > x.options.MaxInFlightBytes+200 {
			x.fail("in flight beyond %d messages or %d bytes: %+v", x.options.MaxInFlight, x.options.MaxInFlightBytes, s)
		}
		if p := w.inside.peak(); p > x.options.Concurrency {
			x.fail("%d handlers ran at once, Concurrency is %d", p, x.options.Concurrency)
		}
	}
}

// longestIgnorance is how long a handler ignores its context at the most.
const longestIgnorance = 50 * time.Second

// handle is the handler: it notes what it sees and does something random.
func (x *trial) handle(ctx context.Context, d *broker.Delivery) error {
	x.begin(d)
	what := x.intN(12)
	if x.chance(0.5) {
		d := time.Duration(x.intN(4000)) * time.Millisecond
		if x.chance(0.1) {
			d *= 20 // beyond every lease
		}
		if x.chance(0.9) {
			select {
			case <-time.After(d):
			case <-ctx.Done():
			}
		} else {
			time.Sleep(min(d, longestIgnorance)) // ignores its context
		}
	}
	err := ctx.Err()
	if err == nil {
		switch what {
		case 0:
			err = failure.Dependency(errors.New("down"))
		case 1:
			err = failure.Data(errors.New("wrong"))
		case 2:
			err = errors.New("no luck")
		case 3:
			err = runtime.Release(time.Duration(x.intN(5000))*time.Millisecond, "not now")
		case 4:
			err = runtime.RetryAfter(time.Duration(x.intN(5000))*time.Millisecond, errors.New("busy"))
		case 5:
			x.end(d, errors.New("panics"))
			panic("boom")
		case 6:
			err = runtime.Drop("obsolete")
		}
	}
	x.end(d, err)
	return err
}

// delivered counts how often a message came back unsettled.
func (x *trial) delivered(d *broker.Delivery) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if d.Abandoned > 0 {
		x.messages[d.ID].abandoned++
	}
}

// settled counts how often a message was given back.
func (x *trial) settled(s *broker.Settlement) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s.Action == broker.Release {
		x.messages[s.Delivery.ID].releases++
	}
}

// handleBatch handles the items one after the other, and of a key nothing after
// a failed one.
func (x *trial) handleBatch(ctx context.Context, batch []*broker.Delivery) error {
	var failed *runtime.BatchError
	stop := map[string]bool{}
	for i, d := range batch {
		if x.options.Ordering == runtime.OrderKey && d.Key != "" && stop[d.Key] {
			continue
		}
		err := func() (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = failure.Recovered(p)
				}
			}()
			return x.handle(ctx, d)
		}()
		failed = failed.Fail(i, err)
		stop[d.Key] = err != nil && !isDrop(err)
	}
	if context.Cause(ctx) != nil && failed != nil { // one item's end is that of all, and spends nothing of theirs
		x.mu.Lock()
		defer x.mu.Unlock()
		for i := range failed.Items {
			x.messages[batch[i].ID].releases++
		}
	}
	return failed.Err()
}

func isDrop(err error) bool {
	var o *runtime.Outcome
	return errors.As(err, &o) && o.Action == broker.Ack
}

func (x *trial) begin(d *broker.Delivery) {
	x.mu.Lock()
	defer x.mu.Unlock()
	m := x.messages[d.ID]
	m.runs++
	m.running++
	if d.Attempt > x.options.Retry.MaxAttempts {
		x.fail("attempt %d of a budget of %d ran", d.Attempt, x.options.Retry.MaxAttempts)
	}
	if x.ordered(m) {
		for _, id := range x.keys[m.key] {
			other := x.messages[id]
			if other != m && other.running > 0 {
				x.fail("messages %d and %d of key %s ran at once", m.index, other.index, m.key)
			}
			if other.index > m.index && other.done {
				x.fail("message %d of key %s ran after message %d was done", m.index, m.key, other.index)
			}
		}
	}
}

// ordered says whether strict order can be expected of m: where leases can be
// lost a message may come back after its successors, and where the broker hands
// out a key to several consumers only each of them keeps the order.
func (x *trial) ordered(m *life) bool {
	return m.key != "" && x.options.Ordering == runtime.OrderKey && !x.faulty && (x.alone || !x.queue.Without.KeyOrder) &&
		!x.queue.Without.Extend && x.options.MaxLease > longestIgnorance
}

// holds says whether m's retries are held in the process.
func (x *trial) holds(m *life) bool {
	keyed := x.options.Ordering == runtime.OrderKey && m.key != ""
	return x.queue.Without.Delay || keyed && x.queue.Without.KeyOrder
}

func (x *trial) end(d *broker.Delivery, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	m := x.messages[d.ID]
	m.running--
	var o *runtime.Outcome
	released := errors.As(err, &o) && o.Action == broker.Release
	if released {
		m.releases++ // it may be held, and then the broker does not see it
	}
	if err == nil || isDrop(err) {
		m.done = true
	}
}

// checkEnds checks that every message ended once, and within its budget.
func (x *trial) checkEnds() {
	if s, err := x.broker.Stats("q"); err != nil || s.Total() != 0 {
		x.fail("left in the queue: %+v, %v", s, err)
	}
	dead, err := x.broker.Messages("q.dlq")
	if err != nil {
		x.Fatal(err)
	}
	buried := map[string]int{}
	for _, s := range dead {
		buried[s.Message.ID]++
		if s.Failure == nil {
			x.fail("dead letter without a record")
		}
	}
	for id, m := range x.messages {
		if n := buried[id]; n > 1 || n == 0 && !m.done {
			x.fail("message lost or doubled: %d dead letters, done: %v, %+v", n, m.done, *m)
		}
		budget := x.options.Retry.MaxAttempts
		limit := budget + m.releases + m.abandoned
		if x.holds(m) { // what is abandoned forgets the attempts of its hold
			limit = budget*(m.abandoned+1) + m.releases
		}
		if m.runs > limit {
			x.fail("ran %d times: budget %d, released %d, abandoned %d", m.runs, budget, m.releases, m.abandoned)
		}
	}
}
