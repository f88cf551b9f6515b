package memory

import (
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// A queue with nothing taken away announces everything.
func TestCapabilitiesOfAnOrdinaryQueue(t *testing.T) {
	inBubbleWith(t, Queue{MaxLease: time.Hour}, SubscribeOptions{SettleCalls: 2, SettleLinger: time.Millisecond}, func(b *bench) {
		want := broker.Capabilities{
			Broker: "memory", System: "anyqueue_memory", Source: "q",
			Lease: 30 * time.Second, Extends: true, MaxLease: time.Hour,
			KeyOrder: true, Keys: true,
			CarriesAttempts: true, CarriesFailure: true, CountsAbandoned: true, ReleaseIsFree: true,
			MaxDelay: 365 * 24 * time.Hour, DelayKeepsOrder: true,
			DeadLetters: true, MaxMessageBytes: 16 << 20,
			MaxSettle: 1000, MaxExtend: 1000, SettleCalls: 2, SettleLinger: time.Millisecond,
			AgeFrom: "publication, kept by the broker", Duplicates: "never once a settlement was confirmed",
		}
		if got := b.s.Capabilities(); got != want {
			b.Fatalf("capabilities are\n%+v, want\n%+v", got, want)
		}
	})
}

// Without.Extend makes Extend unsupported, and the lease runs on.
func TestWithoutExtend(t *testing.T) {
	inBubble(t, Queue{Without: Without{Extend: true}}, func(b *bench) {
		if b.s.Capabilities().Extends {
			b.Fatal("Extends is announced")
		}
		b.publish("a")
		b.wantIs(b.s.Extend(b.Context(), []*broker.Delivery{b.one(b.s)}, time.Hour), broker.ErrUnsupported)
		b.wantNothing(b.s, DefaultLease-1)
		b.wantReceived(b.s, "a")
	})
}

// Without.Delay refuses every delay and leaves the message leased; what comes
// back at once still does.
func TestWithoutDelay(t *testing.T) {
	inBubble(t, Queue{Without: Without{Delay: true}}, func(b *bench) {
		if c := b.s.Capabilities(); c.MaxDelay != 0 || c.DelayKeepsOrder {
			b.Fatalf("MaxDelay %v, DelayKeepsOrder %v are announced", c.MaxDelay, c.DelayKeepsOrder)
		}
		b.publish("a")
		a := b.one(b.s)
		for _, action := range []broker.Action{broker.Retry, broker.Release} {
			b.wantIs(b.settleErr(b.s, broker.Settlement{Delivery: a, Action: action, After: 1}), broker.ErrUnsupported)
		}
		b.wantStats("q", 0, 1, 0, 0)
		b.settle(b.s, broker.Settlement{Delivery: a, Action: broker.Retry})
		b.wantReceived(b.s, "a")
	})
}

// Without.Attempts counts deliveries, whatever the settlements say and however
// the deliveries ended.
func TestWithoutAttempts(t *testing.T) {
	inBubble(t, Queue{Without: Without{Attempts: true}}, func(b *bench) {
		if c := b.s.Capabilities(); c.CarriesAttempts || c.ReleaseIsFree {
			b.Fatalf("CarriesAttempts %v, ReleaseIsFree %v are announced", c.CarriesAttempts, c.ReleaseIsFree)
		}
		b.publish("a")
		for n, action := range []broker.Action{broker.Retry, broker.Release, 0, broker.Retry} {
			d := b.one(b.s)
			if d.Attempt != n+1 {
				b.Fatalf("delivery %d has Attempt %d", n+1, d.Attempt)
			}
			if action != 0 { // 0: abandoned
				b.settle(b.s, broker.Settlement{Delivery: d, Action: action, Attempt: 40})
			}
		}
	})
}

// Without.FreeRelease lets a release spend an attempt.
func TestWithoutFreeRelease(t *testing.T) {
	inBubble(t, Queue{Without: Without{FreeRelease: true}}, func(b *bench) {
		if b.s.Capabilities().ReleaseIsFree {
			b.Fatal("ReleaseIsFree is announced")
		}
		b.publish("a")
		b.settle(b.s, broker.Settlement{Delivery: b.one(b.s), Action: broker.Release, Attempt: 1})
		if d := b.one(b.s); d.Attempt != 2 {
			b.Fatalf("Attempt is %d, want 2", d.Attempt)
		}
	})
}

// Without.Abandoned hides lost deliveries; Without.Failure does not carry
// records through a retry, but dead letters have theirs.
func TestWithoutAbandonedAndFailure(t *testing.T) {
	inBubble(t, Queue{Without: Without{Abandoned: true, Failure: true}}, func(b *bench) {
		if c := b.s.Capabilities(); c.CountsAbandoned || c.CarriesFailure {
			b.Fatalf("CountsAbandoned %v, CarriesFailure %v are announced", c.CountsAbandoned, c.CarriesFailure)
		}
		b.publish("a")
		b.one(b.s)
		a := b.one(b.s)
		if a.Abandoned != 0 {
			b.Fatalf("Abandoned is %d", a.Abandoned)
		}
		b.settle(b.s, broker.Settlement{Delivery: a, Action: broker.Retry, Failure: record("first")})
		a = b.one(b.s)
		if a.Failure != nil {
			b.Fatalf("Failure is %v", a.Failure)
		}
		b.settle(b.s, broker.Settlement{Delivery: a, Action: broker.DeadLetter, Failure: record("last")})
		if d := b.one(b.subscribe("q.dlq", SubscribeOptions{})); d.Failure == nil || d.Failure.Fingerprint != "last" {
			b.Fatalf("dead letter's record is %v", d.Failure)
		}
	})
}
