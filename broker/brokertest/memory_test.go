package brokertest

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
)

// maxBytes is the largest message of the queues.
const maxBytes = 128 << 10

// maxDelay is the longest delay of the queues.
const maxDelay = 24 * time.Hour

// errPassing is what the in-memory broker fails with on request.
var errPassing = errors.New("a fault that passes")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memoryOptions is what differs between the in-memory brokers of these tests.
type memoryOptions struct {
	without   memory.Without
	subscribe memory.SubscribeOptions
	noLease   bool // leases end with their session only
	queue     func(*memory.Queue)
}

// memoryHarness reaches the in-memory broker in fake time.
func memoryHarness(o memoryOptions) Harness {
	return Harness{
		NewQueue: func(t T, spec QueueSpec) Queue { return newMemoryQueue(t, spec, o).Queue },
		Bubble:   synctest.Test,
		Patience: time.Second, Precision: -1,
	}
}

// memoryQueue is a queue and the broker that it lives in.
type memoryQueue struct {
	Queue
	broker *memory.Broker
}

func newMemoryQueue(t T, spec QueueSpec, o memoryOptions) memoryQueue {
	b := memory.New(memory.Options{})
	t.Cleanup(b.Close)
	const name = "work"
	lease := spec.Lease
	if o.noLease {
		lease, spec.MaxLease = -1, 0
	}
	declare := func(q memory.Queue) {
		if err := b.Declare(q); err != nil {
			t.Fatalf("declare: %v", err)
		}
	}
	declare(memory.Queue{
		Name: name + ".dlq", Lease: time.Hour, MaxMessageBytes: maxBytes,
		Without: memory.Without{DeadLetters: true, KeyOrder: true},
	})
	q := memory.Queue{
		Name: name, Lease: lease, MaxLease: spec.MaxLease, MaxMessageBytes: maxBytes, MaxDelay: maxDelay,
		Without: o.without,
	}
	q.Without.DeadLetters = q.Without.DeadLetters || spec.NoDeadLetters
	if o.queue != nil {
		o.queue(&q)
	}
	declare(q)
	mq := memoryQueue{broker: b}
	mq.Queue = Queue{
		Name:        name,
		Subscribe:   func(t T) broker.Subscription { return mq.subscribe(t, name, o.subscribe) },
		DeadLetters: func(t T) broker.Subscription { return mq.subscribe(t, name+".dlq", memory.SubscribeOptions{}) },
		Publisher:   func(T) broker.Publisher { return b.Publisher() },
		Kill:        func(_ T, s broker.Subscription) { s.(*memory.Subscription).Disconnect() },
		Drop: func(T) {
			b.Disconnect()
			b.Reconnect()
		},
		FailNext: func(t T, call Call) {
			once := memory.Next(1, memory.Fail(errPassing))
			f := map[Call]memory.Faults{
				CallReceive: {ReceiveCall: once}, CallSettle: {SettleCall: once},
				CallExtend: {ExtendCall: once}, CallPublish: {PublishCall: once},
			}[call]
			if err := b.Inject(name, f); err != nil {
				t.Fatalf("inject: %v", err)
			}
		},
	}
	return mq
}

func (q memoryQueue) subscribe(t T, name string, o memory.SubscribeOptions) *memory.Subscription {
	s, err := q.broker.Subscribe(name, o)
	if err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	return s
}

// The in-memory broker keeps every promise.
func TestMemoryConforms(t *testing.T) {
	Run(t, memoryHarness(memoryOptions{}))
}

// The in-memory broker keeps what is left of the promises with any ability taken
// away, and says in its capabilities what is gone.
func TestMemoryConformsWithFewerAbilities(t *testing.T) {
	for name, without := range map[string]memory.Without{
		"extend":       {Extend: true},
		"key order":    {KeyOrder: true},
		"keys":         {Keys: true},
		"delay":        {Delay: true},
		"attempts":     {Attempts: true},
		"failure":      {Failure: true},
		"abandoned":    {Abandoned: true},
		"free release": {FreeRelease: true},
		"dead letters": {DeadLetters: true},
	} {
		t.Run("without "+name, func(t *testing.T) { Run(t, memoryHarness(memoryOptions{without: without})) })
	}
}

// Leases that live on a session, with a deadline beside or without, keep the
// promises too, and so does an adapter that takes small batches.
func TestMemoryConformsWithOtherMeans(t *testing.T) {
	for name, o := range map[string]memoryOptions{
		"session leases":           {subscribe: memory.SubscribeOptions{SessionLeases: true}},
		"leases without deadlines": {subscribe: memory.SubscribeOptions{SessionLeases: true}, noLease: true},
		"single settlements":       {subscribe: memory.SubscribeOptions{MaxSettle: 1, MaxExtend: 1}},
		"parallel settlements":     {subscribe: memory.SubscribeOptions{SettleCalls: 3}},
		"batches of ten":           {subscribe: memory.SubscribeOptions{MaxSettle: 10, MaxExtend: 10}},
		"a delivery limit":         {queue: func(q *memory.Queue) { q.DeliveryLimit = 30 }},
	} {
		t.Run(name, func(t *testing.T) { Run(t, memoryHarness(o)) })
	}
}

// The suite works in real time, with cases in parallel, as it does with a real
// broker.
func TestMemoryConformsInRealTime(t *testing.T) {
	if testing.Short() {
		t.Skip("waits in real time")
	}
	h := memoryHarness(memoryOptions{})
	h.Bubble = nil
	h.Patience, h.Quiet, h.Precision = 10*time.Second, 40*time.Millisecond, time.Millisecond
	h.Lease, h.Delay = 600*time.Millisecond, 200*time.Millisecond // a busy machine stalls, too
	Run(t, h)
}

// With the default times the suite waits as long as its documentation says: 150 s
// in all cases together, 11 s in the longest.
func TestTheSuiteWaitsAsLongAsDocumented(t *testing.T) {
	var total, longest time.Duration
	h := Harness{NewQueue: memoryHarness(memoryOptions{}).NewQueue}
	h.Bubble = func(t *testing.T, f func(t *testing.T)) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			t.Cleanup(func() {
				total += time.Since(began)
				longest = max(longest, time.Since(began))
			})
			f(t)
		})
	}
	Run(t, h)
	t.Logf("%v in all, %v in the longest case", total, longest)
	if total > 150*time.Second || longest > 11*time.Second {
		t.Errorf("the suite waits for %v, %v in its longest case: more than its documentation says", total, longest)
	}
}
