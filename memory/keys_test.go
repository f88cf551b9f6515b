package memory

import (
	"fmt"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// While a message of a key is leased or delayed, later ones of that key go to
// nobody; other keys and messages without one do.
func TestKeyIsHeldBackByItsEarlierMessageAlone(t *testing.T) {
	inBubble(t, Queue{Lease: time.Second}, func(b *bench) {
		other := b.subscribe("q", SubscribeOptions{})
		b.publish("1:a", "2:a", "1:b", "no key", "2:b")
		ds := b.wantReceived(b.s, "1:a", "1:b", "no key")
		b.wantStats("q", 0, 3, 0, 2)
		b.wantNothing(other, time.Second-1)

		b.settle(b.s, broker.Settlement{Delivery: &ds[0], Action: broker.Retry, After: time.Minute})
		b.ack(b.s, ds[1:]...)
		b.ack(other, b.wantReceived(other, "2:b")...)
		b.wantNothing(other, time.Minute-1)
		b.ack(other, b.wantReceived(other, "1:a")...)
		b.ack(other, b.wantReceived(other, "2:a")...)
		b.wantStats("q", 0, 0, 0, 0)
	})
}

// A key's messages run in the order of publication through retries, releases and
// lost leases, and a dead letter lets the next one come.
func TestKeyKeepsItsOrderThroughEveryOutcome(t *testing.T) {
	inBubble(t, Queue{Lease: time.Second}, func(b *bench) {
		b.publish("1:k", "2:k", "3:k", "4:k")
		step := func(want string, action broker.Action) {
			ds := b.wantReceived(b.s, want)
			if action != 0 {
				b.settle(b.s, broker.Settlement{Delivery: &ds[0], Action: action, After: time.Minute, Failure: record("x")})
			}
		}
		step("1:k", broker.Retry)
		step("1:k", broker.Ack)
		step("2:k", broker.Release)
		step("2:k", broker.DeadLetter)
		step("3:k", 0) // abandoned
		step("3:k", broker.Ack)
		b.publish("5:k")
		step("4:k", broker.Ack)
		step("5:k", broker.Ack)
	})
}

// Without.KeyOrder carries keys and keeps no order between consumers;
// Without.Keys does not even carry them. Both say so.
func TestKeysWithoutOrderAreHandedOutConcurrently(t *testing.T) {
	for _, w := range []Without{{KeyOrder: true}, {Keys: true}} {
		inBubble(t, Queue{Without: w}, func(b *bench) {
			c := b.s.Capabilities()
			if c.KeyOrder || c.DelayKeepsOrder || c.Keys == w.Keys {
				b.Fatalf("capabilities of %+v: KeyOrder %v, DelayKeepsOrder %v, Keys %v", w, c.KeyOrder, c.DelayKeepsOrder, c.Keys)
			}
			b.publish("1:k", "2:k")
			ds := b.wantReceived(b.s, "1:k", "2:k")
			if (ds[0].Key == "k") == w.Keys {
				b.Fatalf("key is %q with %+v", ds[0].Key, w)
			}
		})
	}
}

// Keys and messages that are gone leave no memory behind that grows with the
// backlog.
func TestContainersShrinkAsTheBacklogDrains(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		const n = 20_000
		ms := messages(n)
		for i, m := range ms {
			m.Key = fmt.Sprint("key ", i)
		}
		if err := b.p.Publish(b.Context(), "q", ms...); err != nil {
			b.Fatal(err)
		}
		for left := n; left > 0; {
			ds := b.receive(b.s, 1000)
			for i := range ds {
				b.settle(b.s, broker.Settlement{Delivery: &ds[i], Action: broker.Retry, After: time.Duration(i) * time.Second})
			}
			left -= len(ds)
		}
		q := b.queues["q"]
		if q.lanes.peak != n || cap(q.delayed.items) < n {
			b.Fatalf("the test is wrong: %d keys, room for %d delays", q.lanes.peak, cap(q.delayed.items))
		}
		for left := n - 1; left > 0; {
			ds := b.receive(b.s, min(left, 1000))
			b.ack(b.s, ds...)
			left -= len(ds)
		}
		if q.lanes.peak > 2*shrinkAbove || cap(q.delayed.items) > 2*shrinkAbove || cap(q.returned.items) > 2*shrinkAbove || q.bytes > 100 {
			b.Fatalf("after the drain: peak %d keys, room for %d delays and %d returned, %d bytes",
				q.lanes.peak, cap(q.delayed.items), cap(q.returned.items), q.bytes)
		}
	})
}
