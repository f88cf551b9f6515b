package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

const (
	stressTime     = 1500 * time.Millisecond
	stressMessages = 3000
	stressInFlight = 24
)

// What holds under fake time holds in real time, where the race detector sees
// every interleaving that the processors make: with consumers that are paused and
// cut off, calls that fail, and handlers that do what they must not, ledgers
// balance at every moment and at the end nothing is in flight.
func TestLedgersBalanceUnderStressInRealTime(t *testing.T) {
	lease := 300 * time.Millisecond
	quick := runtime.Backoff{Initial: 5 * time.Millisecond, Max: 20 * time.Millisecond}
	short := runtime.RetryPolicy{Backoff: quick, Classes: map[failure.Class]runtime.ClassPolicy{ // all waits in a lease
		failure.ClassResource: {Backoff: quick}, failure.ClassDependency: {Backoff: quick},
	}}
	unordered := memory.Without{KeyOrder: true}
	for name, s := range map[string]*stress{
		"single messages": {queue: memory.Queue{Lease: lease}},
		"keys":            {queue: memory.Queue{Lease: lease, Without: unordered}, options: runtime.Options{Ordering: runtime.OrderKey}},
		"batches": {
			batch: true, queue: memory.Queue{Lease: lease, Without: unordered},
			options: runtime.Options{Ordering: runtime.OrderKey, BatchWait: 5 * time.Millisecond},
		},
		"batches behind middleware, leases that cannot be extended": {
			batch: true, queue: memory.Queue{Lease: lease, Without: memory.Without{KeyOrder: true, Extend: true}},
			options: runtime.Options{
				Ordering: runtime.OrderKey, BatchWait: 5 * time.Millisecond, Retry: short,
				Middleware: []runtime.Middleware{{Name: "moody", Wrap: moody}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.T = t
			s.run()
		})
	}
}

// stress is one run of three consumers on one queue.
type stress struct {
	*testing.T
	queue   memory.Queue
	options runtime.Options
	batch   bool

	mu      sync.Mutex
	running map[string]int // by consumer and key
}

func (s *stress) run() {
	b := memory.New(memory.Options{})
	defer b.Close()
	s.queue.Name = "jobs"
	if err := b.Declare(s.queue); err != nil {
		s.Fatal(err)
	}
	if err := b.Inject("jobs", memory.Faults{
		Settle: randomFault, SettleCall: randomFault, Extend: randomFault, ExtendCall: randomFault, ReceiveCall: randomDisconnect,
	}); err != nil {
		s.Fatal(err)
	}
	s.running = map[string]int{}
	var consumers []*runtime.Consumer
	var subs []*memory.Subscription
	for i := range 3 {
		sub, err := b.Subscribe("jobs", memory.SubscribeOptions{SessionLeases: true, SettleCalls: 2})
		if err != nil {
			s.Fatal(err)
		}
		c, err := s.consumer(sub, fmt.Sprint(i))
		if err != nil {
			s.Fatal(err)
		}
		subs, consumers = append(subs, sub), append(consumers, c)
	}

	ctx, cancel := context.WithTimeout(s.Context(), stressTime)
	defer cancel()
	var others sync.WaitGroup
	others.Go(func() { publishMany(ctx, b.Publisher()) })
	others.Go(func() { s.disturb(ctx, subs, consumers) })
	if err := runtime.Run(ctx, consumers...); errors.Is(err, runtime.ErrStuck) { // unsettled outcomes are to be expected
		s.Error(err)
	}
	others.Wait()
	for _, c := range consumers {
		l, bytes := c.Ledger(), c.Stats().Bytes
		if !l.Balanced() || l.InFlight != 0 || bytes != 0 || l.Received == 0 {
			s.Errorf("consumer %s at the end: %+v, %d bytes", c.Name(), l, bytes)
		}
	}
}

func (s *stress) consumer(sub broker.Subscription, name string) (*runtime.Consumer, error) {
	o := s.options
	o.Name, o.Logger = name, quiet
	o.Concurrency, o.MaxInFlight, o.MaxAbandoned = 8, stressInFlight, -1
	o.DrainTimeout, o.StopTimeout, o.Timeout = 100*time.Millisecond, time.Second, 200*time.Millisecond
	o.Retry.MaxHold = 50 * time.Millisecond
	if s.batch {
		return runtime.NewBatch(sub, func(ctx context.Context, batch []*broker.Delivery) error {
			var failed *runtime.BatchError
			for i := range batch {
				failed = failed.Fail(i, misbehave(ctx))
			}
			return failed.Err()
		}, o)
	}
	return runtime.New(sub, func(ctx context.Context, d *broker.Delivery) error {
		if o.Ordering == runtime.OrderKey {
			defer s.enter(name + "/" + d.Key)()
		}
		return misbehave(ctx)
	}, o)
}

// enter checks that a key runs once at a time in its consumer.
func (s *stress) enter(key string) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running[key]++; s.running[key] > 1 {
		s.Errorf("key %s runs twice at once", key)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.running[key]--
	}
}

// disturb cuts consumers off and pauses them, and looks at all of them meanwhile.
func (s *stress) disturb(ctx context.Context, subs []*memory.Subscription, consumers []*runtime.Consumer) {
	for ctx.Err() == nil {
		i := rand.N(len(subs))
		switch rand.N(4) {
		case 0:
			subs[i].Disconnect()
			time.Sleep(20 * time.Millisecond)
			subs[i].Reconnect()
		case 1:
			consumers[i].Pause()
			time.Sleep(5 * time.Millisecond)
			consumers[i].Resume()
		}
		for _, c := range consumers {
			if l := c.Ledger(); !l.Balanced() || l.InFlight > stressInFlight {
				s.Errorf("consumer %s: %+v", c.Name(), l)
			}
			_ = c.Health()
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func publishMany(ctx context.Context, p broker.Publisher) {
	for i := 0; i < stressMessages && ctx.Err() == nil; i++ {
		_ = p.Publish(ctx, "jobs", &broker.Message{Key: fmt.Sprint(i % 40), Body: []byte("x")})
		if i%10 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

func randomFault(context.Context, memory.Op) memory.Fault {
	switch rand.N(100) {
	case 0, 1, 2:
		return memory.Fail(errors.New("no luck"))
	case 3, 4, 5:
		return memory.LoseResponse(errors.New("no answer"))
	case 6, 7:
		return memory.Fail(broker.ErrLeaseLost)
	}
	return memory.Fault{}
}

func randomDisconnect(context.Context, memory.Op) memory.Fault {
	if rand.N(20) == 0 {
		return memory.Fail(broker.ErrDisconnected)
	}
	return memory.Fault{}
}

// misbehave is a handler that does what handlers do, and much that they must not.
func misbehave(ctx context.Context) error {
	go func() { // uses the context of an attempt that is over
		<-ctx.Done()
		_ = runtime.Step(ctx, func(context.Context) error { return errors.New("late") })
	}()
	switch rand.N(12) {
	case 0:
		panic("boom")
	case 1:
		goexit()
	case 2:
		return runtime.Release(0, "not now")
	case 3:
		return failure.Resource(errors.New("busy"))
	case 4:
		time.Sleep(rand.N(400 * time.Millisecond)) // deaf to its context
	case 5:
		var steps sync.WaitGroup
		for range 3 {
			steps.Go(func() {
				_ = runtime.Step(ctx, func(context.Context) error { return failure.Resource(errors.New("busy")) })
			})
		}
		steps.Wait()
	case 6:
		return runtime.RetryAfter(-5, nil)
	}
	return nil
}

// moody is middleware that panics or turns messages away now and then.
func moody(next runtime.Handler) runtime.Handler {
	return func(ctx context.Context, d *broker.Delivery) error {
		switch rand.N(20) {
		case 0:
			panic("moody")
		case 1:
			return runtime.Release(0, "in a mood")
		}
		return next(ctx, d)
	}
}
