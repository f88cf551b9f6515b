package memory

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// A Retry comes back after its delay with the attempt and the record that it was
// settled with, and deliveries abandoned before it are forgotten.
func TestRetryComesBackAfterItsDelayWithWhatItCarries(t *testing.T) {
	inBubble(t, Queue{Lease: time.Second}, func(b *bench) {
		b.publish("a")
		b.one(b.s) // abandoned
		a := b.one(b.s)
		why := record("first")
		b.settle(b.s, broker.Settlement{Delivery: a, Action: broker.Retry, After: time.Minute, Attempt: 4, Failure: why})
		b.wantStats("q", 0, 0, 1, 0)
		b.wantNothing(b.s, time.Minute-1)
		got := b.one(b.s)
		if got.Attempt != 4 || got.Abandoned != 0 || got.Failure != why {
			b.Fatalf("Attempt %d, Abandoned %d, Failure %v; want 4, 0, %v", got.Attempt, got.Abandoned, got.Failure, why)
		}
	})
}

// A Release spends no attempt and keeps the record when it brings none.
func TestReleaseSpendsNoAttemptAndKeepsTheRecord(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		b.publish("a")
		why := record("first")
		b.settle(b.s, broker.Settlement{Delivery: b.one(b.s), Action: broker.Retry, Failure: why})
		b.settle(b.s, broker.Settlement{Delivery: b.one(b.s), Action: broker.Release, After: time.Hour})
		got := b.one(b.s)
		if got.Attempt != 2 || got.Failure != why {
			b.Fatalf("Attempt %d, Failure %v; want 2, %v", got.Attempt, got.Failure, why)
		}
	})
}

// Settlements of one call are carried out in order, and those that fail are
// named while all others hold.
func TestSettleNamesExactlyThoseThatFailed(t *testing.T) {
	inBubble(t, Queue{MaxDelay: time.Hour}, func(b *bench) {
		b.publish("a", "b", "c", "d", "e")
		ds := b.receive(b.s, 5)
		err := b.s.Settle(b.Context(), []broker.Settlement{
			{Delivery: &ds[0], Action: broker.Ack},
			{Delivery: &ds[0], Action: broker.Ack},
			{Delivery: &ds[1], Action: broker.Retry, After: time.Hour + 1},
			{Delivery: &ds[2]},
			{Delivery: &ds[3], Action: broker.DeadLetter},
			{Delivery: &ds[4], Action: broker.Ack},
		})
		var failed *broker.SettleError
		if !errors.As(err, &failed) {
			b.Fatal(err)
		}
		var at []int
		for _, f := range failed.Failed {
			at = append(at, f.Index)
			want := map[int]error{1: broker.ErrLeaseLost, 2: broker.ErrUnsupported, 3: broker.ErrInvalid, 4: broker.ErrInvalid}[f.Index]
			b.wantIs(f.Err, want)
		}
		if !slices.Equal(at, []int{1, 2, 3, 4}) {
			b.Fatalf("failed are %v, want [1 2 3 4]", at)
		}
		b.wantStats("q", 0, 3, 0, 0) // b, c and d are leased as they were
	})
}

// More than MaxSettle or MaxExtend in a call is refused whole.
func TestBatchesAboveTheLimitAreRefused(t *testing.T) {
	inBubbleWith(t, Queue{}, SubscribeOptions{MaxSettle: 2, MaxExtend: 1}, func(b *bench) {
		b.publish("a", "b", "c")
		ds := b.receive(b.s, 3)
		xs := make([]broker.Settlement, 3)
		for i := range ds {
			xs[i] = broker.Settlement{Delivery: &ds[i], Action: broker.Ack}
		}
		b.wantIs(b.s.Settle(b.Context(), xs), broker.ErrInvalid)
		b.wantIs(b.s.Extend(b.Context(), []*broker.Delivery{&ds[0], &ds[1]}, time.Minute), broker.ErrInvalid)
		if err := b.s.Settle(b.Context(), xs[:2]); err != nil {
			b.Fatal(err)
		}
		b.wantStats("q", 0, 1, 0, 0)
	})
}

// A dead letter is as it was published, whatever the handler did to its copy,
// and says why. It is a fresh message of its queue.
func TestDeadLetterIsAsPublishedAndSaysWhy(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		m := &broker.Message{
			ID: "id", Key: "k", Type: "t", SchemaVersion: 3,
			Headers: broker.Headers{{Name: "h", Value: "\x00\xff"}, {Name: "h", Value: "2"}},
			Body:    []byte{0, 1, 0xff},
		}
		if err := b.p.Publish(b.Context(), "q", m); err != nil {
			b.Fatal(err)
		}
		want := m.Clone()
		m.Body[0], m.Headers[0].Value = 9, "changed after publishing"
		for range 2 {
			d := b.one(b.s)
			d.Body[0], d.Headers[0].Value, d.Key = 9, "changed by the handler", "other"
			d.Headers = append(d.Headers, broker.Header{Name: "x"})
			b.settle(b.s, broker.Settlement{Delivery: d, Action: broker.Retry})
		}
		why := record("hopeless")
		b.settle(b.s, broker.Settlement{Delivery: b.one(b.s), Action: broker.DeadLetter, Failure: why})
		b.wantStats("q", 0, 0, 0, 0)

		dead := b.subscribe("q.dlq", SubscribeOptions{})
		d := b.one(dead)
		if d.ID != want.ID || d.Key != want.Key || d.Type != want.Type || d.SchemaVersion != want.SchemaVersion ||
			!slices.Equal(d.Headers, want.Headers) || !slices.Equal(d.Body, want.Body) || !d.PublishedAt.Equal(want.PublishedAt) {
			b.Fatalf("dead letter is %+v, want %+v", d.Message, want)
		}
		if d.Failure != why || d.Attempt != 1 || d.Source != "q.dlq" {
			b.Fatalf("Failure %v, Attempt %d, Source %q", d.Failure, d.Attempt, d.Source)
		}
	})
}

// A dead-letter queue made by default hands out many dead letters of one key at
// once, so that a tool can look at them, and has no dead letters of its own.
func TestDefaultDeadLetterQueueIsOpenToTools(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		dead := b.subscribe("q.dlq", SubscribeOptions{})
		if c := dead.Capabilities(); c.KeyOrder || !c.Keys || c.DeadLetters {
			b.Fatalf("KeyOrder %v, Keys %v, DeadLetters %v", c.KeyOrder, c.Keys, c.DeadLetters)
		}
		b.publish("1:k", "2:k", "3:k")
		for range 3 {
			b.settle(b.s, broker.Settlement{Delivery: b.one(b.s), Action: broker.DeadLetter, Failure: record("x")})
		}
		b.wantReceived(dead, "1:k", "2:k", "3:k")
	})
}

// A dead letter that its queue cannot take is an error, and the message stays
// leased; it can be settled later.
func TestDeadLetterThatIsRefusedStaysLeased(t *testing.T) {
	for _, c := range []struct {
		name string
		dlq  Queue
		want error
	}{
		{"full", Queue{MaxMessages: 1}, broker.ErrFull},
		{"full of bytes", Queue{MaxBytes: 8}, broker.ErrFull},
		{"too large", Queue{MaxMessageBytes: 3}, broker.ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, Queue{DeadLetter: "dead"}, func(b *bench) {
				c.dlq.Name = "dead" // it was made by default and is still unused
				if err := b.Declare(c.dlq); err != nil {
					b.Fatal(err)
				}
				if err := b.p.Publish(b.Context(), "dead", &broker.Message{ID: "x"}); err != nil {
					b.Fatal(err)
				}
				b.publish("aaaa")
				x := broker.Settlement{Delivery: b.one(b.s), Action: broker.DeadLetter, Failure: record("hopeless")}
				b.wantIs(b.settleErr(b.s, x), c.want)
				b.wantStats("q", 0, 1, 0, 0)
				b.wantStats("dead", 1, 0, 0, 0)
				b.ack(b.s, *x.Delivery)
			})
		})
	}
}

// Without a dead-letter queue a dead letter is unsupported, and announced so.
func TestWithoutDeadLettersADeadLetterIsUnsupported(t *testing.T) {
	inBubble(t, Queue{Without: Without{DeadLetters: true}}, func(b *bench) {
		if b.s.Capabilities().DeadLetters {
			b.Fatal("capabilities announce dead letters")
		}
		b.publish("a")
		x := broker.Settlement{Delivery: b.one(b.s), Action: broker.DeadLetter, Failure: record("hopeless")}
		b.wantIs(b.settleErr(b.s, x), broker.ErrUnsupported)
		b.wantStats("q", 0, 1, 0, 0)
	})
}

// The delivery limit counts every delivery, however it ended, and makes the last
// one a dead letter of class crash.
func TestDeliveryLimitDeadLettersAsCrash(t *testing.T) {
	inBubble(t, Queue{Lease: time.Second, DeliveryLimit: 3}, func(b *bench) {
		if got := b.s.Capabilities().DeliveryLimit; got != 3 {
			b.Fatalf("capabilities announce a limit of %d, want 3", got)
		}
		b.publish("a")
		b.settle(b.s, broker.Settlement{Delivery: b.one(b.s), Action: broker.Retry, Failure: record("earlier")})
		b.settle(b.s, broker.Settlement{Delivery: b.one(b.s), Action: broker.Release})
		b.one(b.s) // the third, never settled
		dead := b.subscribe("q.dlq", SubscribeOptions{})
		began := time.Now()
		d := b.one(dead) // wakes although nobody waits for q itself
		if time.Since(began) != time.Second {
			b.Fatalf("dead-lettered after %v, want when the last lease ended", time.Since(began))
		}
		if d.Failure == nil || d.Failure.Class != failure.ClassCrash || d.Failure.Source != "q" {
			b.Fatalf("record is %+v, want one of class crash from q", d.Failure)
		}
		b.wantStats("q", 0, 0, 0, 0)
	})
}

// A message over its limit that no dead-letter queue takes is kept.
func TestDeliveryLimitLosesNothingWithoutAPlace(t *testing.T) {
	for _, q := range []Queue{{Without: Without{DeadLetters: true}}, {DeadLetter: "full", MaxMessages: 1}} {
		q.DeliveryLimit = 1
		inBubble(t, q, func(b *bench) {
			if q.DeadLetter != "" {
				if err := b.p.Publish(b.Context(), "full", &broker.Message{}); err != nil {
					b.Fatal(err)
				}
			}
			b.publish("a")
			for range 3 {
				b.settle(b.s, broker.Settlement{Delivery: b.one(b.s), Action: broker.Retry})
			}
			b.ack(b.s, *b.one(b.s))
		})
	}
}

// A retry without a delay and without a key comes back before what was published
// after it.
func TestWhatIsGivenBackReturnsToItsPlace(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		b.publish("a", "b", "c", "d")
		ds := b.receive(b.s, 3)
		b.settle(b.s, broker.Settlement{Delivery: &ds[1], Action: broker.Retry})
		b.settle(b.s, broker.Settlement{Delivery: &ds[0], Action: broker.Release})
		b.wantReceived(b.s, "a", "b", "d")
	})
}
