package brokertest_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/broker/brokertest"
	"github.com/anyqueue/anyqueue/memory"
)

// The harness of the in-memory broker, with every hook. That of a real broker
// differs in that it leaves Bubble nil and picks a new name for each queue.
func ExampleRun() {
	newQueue := func(t brokertest.T, spec brokertest.QueueSpec) brokertest.Queue {
		b := memory.New(memory.Options{})
		t.Cleanup(b.Close)
		err := b.Declare(memory.Queue{
			Name: "orders", Lease: spec.Lease, MaxLease: spec.MaxLease,
			Without: memory.Without{DeadLetters: spec.NoDeadLetters},
		})
		if err != nil {
			t.Fatalf("declare: %v", err)
		}
		subscribe := func(t brokertest.T, name string) broker.Subscription {
			s, err := b.Subscribe(name, memory.SubscribeOptions{})
			if err != nil {
				t.Fatalf("subscribe: %v", err)
			}
			return s
		}
		return brokertest.Queue{
			Name:        "orders",
			Subscribe:   func(t brokertest.T) broker.Subscription { return subscribe(t, "orders") },
			DeadLetters: func(t brokertest.T) broker.Subscription { return subscribe(t, "orders.dlq") },
			Publisher:   func(brokertest.T) broker.Publisher { return b.Publisher() },
			Kill:        func(_ brokertest.T, s broker.Subscription) { s.(*memory.Subscription).Disconnect() },
			Drop: func(brokertest.T) {
				b.Disconnect()
				b.Reconnect()
			},
			FailNext: func(t brokertest.T, call brokertest.Call) {
				once := memory.Next(1, memory.Fail(errors.New("refused on request")))
				faults := map[brokertest.Call]memory.Faults{
					brokertest.CallReceive: {ReceiveCall: once},
					brokertest.CallSettle:  {SettleCall: once},
					brokertest.CallExtend:  {ExtendCall: once},
					brokertest.CallPublish: {PublishCall: once},
				}
				if err := b.Inject("orders", faults[call]); err != nil {
					t.Fatalf("inject: %v", err)
				}
			},
		}
	}

	// In a _test.go file of the adapter: func TestConformance(t *testing.T) { ... }
	_ = func(t *testing.T) {
		brokertest.Run(t, brokertest.Harness{NewQueue: newQueue, Bubble: synctest.Test})
	}
}
