package memory_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/broker/brokertest"
	"github.com/anyqueue/anyqueue/memory"
)

// The in-memory broker meets the contract, as it is and with abilities taken
// away that other brokers lack.
func TestConformance(t *testing.T) {
	for name, k := range map[string]kind{
		"full":    {},
		"session": {subscribe: memory.SubscribeOptions{SessionLeases: true}},
		"likeRabbitMQ": {
			noDeadline: true,
			without:    memory.Without{KeyOrder: true, Delay: true, Failure: true},
			subscribe:  memory.SubscribeOptions{SessionLeases: true},
		},
		"likeSQS": {
			without:   memory.Without{Attempts: true, Failure: true, Abandoned: true},
			subscribe: memory.SubscribeOptions{MaxSettle: 10, MaxExtend: 10},
		},
		"least": {
			without: memory.Without{
				Extend: true, Keys: true, Delay: true, Attempts: true, Failure: true, Abandoned: true, DeadLetters: true,
			},
			subscribe: memory.SubscribeOptions{MaxSettle: 1, MaxExtend: 1},
		},
		"paidRelease": {without: memory.Without{FreeRelease: true}},
	} {
		t.Run(name, func(t *testing.T) {
			brokertest.Run(t, brokertest.Harness{NewQueue: k.newQueue, Bubble: synctest.Test, Precision: -1})
		})
	}
}

// kind is a kind of queue.
type kind struct {
	noDeadline bool
	without    memory.Without
	subscribe  memory.SubscribeOptions
}

var made atomic.Int64

func (k kind) newQueue(t brokertest.T, spec brokertest.QueueSpec) brokertest.Queue {
	t.Helper()
	b := memory.New(memory.Options{})
	t.Cleanup(b.Close)
	q := memory.Queue{
		Name:     fmt.Sprint("queue ", made.Add(1)),
		Lease:    spec.Lease,
		MaxLease: spec.MaxLease,
		Without:  k.without,
	}
	if k.noDeadline {
		q.Lease, q.MaxLease = -1, 0
	}
	q.Without.DeadLetters = q.Without.DeadLetters || spec.NoDeadLetters
	if err := b.Declare(q); err != nil {
		t.Fatalf("%v", err)
	}
	open := func(t brokertest.T, name string, o memory.SubscribeOptions) broker.Subscription {
		t.Helper()
		s, err := b.Subscribe(name, o)
		if err != nil {
			t.Fatalf("%v", err)
		}
		return s
	}
	return brokertest.Queue{
		Name:        q.Name,
		Subscribe:   func(t brokertest.T) broker.Subscription { return open(t, q.Name, k.subscribe) },
		DeadLetters: func(t brokertest.T) broker.Subscription { return open(t, q.Name+".dlq", memory.SubscribeOptions{}) },
		Publisher:   func(brokertest.T) broker.Publisher { return b.Publisher() },
		Kill:        func(_ brokertest.T, s broker.Subscription) { s.(*memory.Subscription).Disconnect() },
		Drop: func(brokertest.T) {
			b.Disconnect()
			b.Reconnect()
		},
		FailNext: func(t brokertest.T, call brokertest.Call) {
			fail := memory.Next(1, memory.Fail(broker.ErrDisconnected))
			f := map[brokertest.Call]memory.Faults{
				brokertest.CallReceive: {ReceiveCall: fail},
				brokertest.CallSettle:  {SettleCall: fail},
				brokertest.CallExtend:  {ExtendCall: fail},
				brokertest.CallPublish: {PublishCall: fail},
			}[call]
			if err := b.Inject(q.Name, f); err != nil {
				t.Fatalf("%v", err)
			}
		},
	}
}
