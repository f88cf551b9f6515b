package memory

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// A lease ends exactly at LeaseUntil; the next delivery says that one was
// abandoned, and the attempt is the same.
func TestLeaseThatRunsOutIsDeliveredToAnotherConsumer(t *testing.T) {
	inBubble(t, Queue{Lease: 10 * time.Second}, func(b *bench) {
		b.publish("a")
		first := b.one(b.s)
		if want := time.Now().Add(10 * time.Second); !first.LeaseUntil.Equal(want) {
			b.Fatalf("LeaseUntil is %v, want %v", first.LeaseUntil, want)
		}
		other := b.subscribe("q", SubscribeOptions{})
		second := b.one(other)
		if !time.Now().Equal(first.LeaseUntil) {
			b.Fatalf("delivered again at %v, want at %v", time.Now(), first.LeaseUntil)
		}
		if second.Abandoned != 1 || second.Attempt != 1 {
			b.Fatalf("Abandoned %d, Attempt %d; want 1, 1", second.Abandoned, second.Attempt)
		}
	})
}

// The default lease is 30 s.
func TestLeaseDefaultsToThirtySeconds(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		b.publish("a")
		b.one(b.s)
		b.wantNothing(b.s, 30*time.Second-1)
		b.wantReceived(b.s, "a")
	})
}

// Whatever comes from an old delivery is refused, and the newer delivery of the
// same message is as it was.
func TestLateSettlementNeverTouchesANewerDelivery(t *testing.T) {
	for _, action := range []broker.Action{broker.Ack, broker.Retry, broker.Release, broker.DeadLetter} {
		t.Run(action.String(), func(t *testing.T) {
			inBubble(t, Queue{Lease: time.Second}, func(b *bench) {
				b.publish("a")
				old := b.one(b.s)
				newer := b.one(b.s)
				late := broker.Settlement{Delivery: old, Action: action, Attempt: 7, Failure: record("late")}
				b.wantIs(b.settleErr(b.s, late), broker.ErrLeaseLost)
				b.wantStats("q", 0, 1, 0, 0)
				b.wantStats("q.dlq", 0, 0, 0, 0)
				b.ack(b.s, *newer)
				b.wantStats("q", 0, 0, 0, 0)
			})
		})
	}
}

// A delivery is settled once.
func TestSecondSettlementOfADeliveryIsALostLease(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		b.publish("a", "b")
		a := b.one(b.s)
		b.ack(b.s, *a)
		b.wantIs(b.settleErr(b.s, broker.Settlement{Delivery: a, Action: broker.Ack}), broker.ErrLeaseLost)
		again := b.one(b.s)
		b.settle(b.s, broker.Settlement{Delivery: again, Action: broker.Retry})
		b.wantIs(b.settleErr(b.s, broker.Settlement{Delivery: again, Action: broker.Ack}), broker.ErrLeaseLost)
		b.wantStats("q", 1, 0, 0, 0)
	})
}

// A delivery of another queue, of another broker, or of nobody is not ours.
func TestForeignDeliveryIsALostLease(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		if err := b.Declare(Queue{Name: "other"}); err != nil {
			b.Fatal(err)
		}
		other := b.subscribe("other", SubscribeOptions{})
		b.publish("a")
		a := b.one(b.s)
		for _, d := range []*broker.Delivery{nil, {}, {Message: a.Message, Source: "q", Attempt: 1}} {
			b.wantIs(b.settleErr(b.s, broker.Settlement{Delivery: d, Action: broker.Ack}), broker.ErrLeaseLost)
			b.wantIs(b.named(b.s.Extend(b.Context(), []*broker.Delivery{d}, time.Minute)), broker.ErrLeaseLost)
		}
		b.wantIs(b.settleErr(other, broker.Settlement{Delivery: a, Action: broker.Ack}), broker.ErrLeaseLost)
		b.ack(b.s, *a)
	})
}

// An extension counts from the call, and never shortens a lease.
func TestExtendHoldsUntilNowPlusBy(t *testing.T) {
	inBubble(t, Queue{Lease: 10 * time.Second}, func(b *bench) {
		b.publish("a")
		a := b.one(b.s)
		time.Sleep(9 * time.Second)
		if err := b.s.Extend(b.Context(), []*broker.Delivery{a}, 20*time.Second); err != nil {
			b.Fatal(err)
		}
		if err := b.s.Extend(b.Context(), []*broker.Delivery{a}, time.Second); err != nil {
			b.Fatal(err)
		}
		b.wantNothing(b.s, 20*time.Second-1)
		b.wantReceived(b.s, "a")
	})
}

// The longest extension is for ever, and does not overflow into the past.
func TestExtendByTheLongestDurationHolds(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		time.Sleep(time.Second) // the broker's time must not be 0, where nothing overflows
		b.publish("a")
		a := b.one(b.s)
		if err := b.s.Extend(b.Context(), []*broker.Delivery{a}, math.MaxInt64); err != nil {
			b.Fatal(err)
		}
		b.wantNothing(b.s, 1000*time.Hour)
		b.ack(b.s, *a)
	})
}

// A lease that ended cannot be revived. One that was settled meanwhile is no
// error: extensions run beside settlements.
func TestExtendTellsLostFromSettled(t *testing.T) {
	inBubble(t, Queue{Lease: time.Second}, func(b *bench) {
		b.publish("lost", "settled")
		ds := b.receive(b.s, 2)
		b.ack(b.s, ds[1])
		time.Sleep(time.Second)
		err := b.s.Extend(b.Context(), []*broker.Delivery{&ds[0], &ds[1]}, time.Minute)
		b.wantIs(b.named(err), broker.ErrLeaseLost)
		b.wantReceived(b.s, "lost")
	})
}

// An extension beyond MaxLease is refused with a reason that says what could be
// asked for, and the lease keeps its deadline.
func TestExtendBeyondMaxLeaseIsRefusedAndKeepsTheDeadline(t *testing.T) {
	inBubble(t, Queue{Lease: 10 * time.Second, MaxLease: 25 * time.Second}, func(b *bench) {
		b.publish("a")
		a := b.one(b.s)
		began := time.Now()
		time.Sleep(9 * time.Second)
		extend := func(by time.Duration) error { return b.s.Extend(b.Context(), []*broker.Delivery{a}, by) }
		err := b.named(extend(17 * time.Second))
		b.wantIs(err, broker.ErrUnsupported)
		var capped *MaxLeaseError
		if !errors.As(err, &capped) || !capped.Until.Equal(began.Add(25*time.Second)) {
			b.Fatalf("error is %#v, want a MaxLeaseError until %v", err, began.Add(25*time.Second))
		}
		if err := extend(16 * time.Second); err != nil { // exactly to the limit
			b.Fatal(err)
		}
		b.wantNothing(b.s, 16*time.Second-1)
		b.wantReceived(b.s, "a")
	})
}

// A lease without a deadline ends with its session only.
func TestLeaseWithoutADeadlineEndsWithItsSession(t *testing.T) {
	inBubbleWith(t, Queue{Lease: -1}, SubscribeOptions{SessionLeases: true}, func(b *bench) {
		if c := b.s.Capabilities(); c.Lease != 0 || c.Extends {
			b.Fatalf("capabilities announce a lease of %v, Extends %v; want neither", c.Lease, c.Extends)
		}
		b.publish("a")
		a := b.one(b.s)
		if !a.LeaseUntil.IsZero() {
			b.Fatalf("LeaseUntil is %v, want zero", a.LeaseUntil)
		}
		b.wantNothing(b.s, 10000*time.Hour)
		other := b.subscribe("q", SubscribeOptions{SessionLeases: true})
		if err := b.s.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		if d := b.one(other); d.Abandoned != 1 {
			b.Fatalf("Abandoned is %d, want 1", d.Abandoned)
		}
	})
}
