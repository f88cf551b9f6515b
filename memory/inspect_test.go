package memory

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// Messages shows every message of a queue in its order and its state, and what
// it returns is a copy.
func TestMessagesShowsWhatIsLeft(t *testing.T) {
	inBubble(t, Queue{Lease: time.Minute}, func(b *bench) {
		b.publish("delayed", "1:k", "2:k", "leased", "ready")
		ds := b.receive(b.s, 3)
		why := record("first")
		b.settle(b.s, broker.Settlement{Delivery: &ds[0], Action: broker.Retry, After: time.Hour, Failure: why})
		stored, err := b.Messages("q")
		if err != nil {
			b.Fatal(err)
		}
		now := time.Now()
		for i, want := range []Stored{
			{State: Delayed, Attempt: 2, Deliveries: 1, Failure: why, Until: now.Add(time.Hour)},
			{State: Leased, Attempt: 1, Deliveries: 1, Until: now.Add(time.Minute)},
			{State: Waiting, Attempt: 1},
			{State: Leased, Attempt: 1, Deliveries: 1, Until: now.Add(time.Minute)},
			{State: Ready, Attempt: 1},
		} {
			got := stored[i]
			if id := []string{"delayed", "1:k", "2:k", "leased", "ready"}[i]; got.ID != id {
				b.Fatalf("message %d is %q, want %q", i, got.ID, id)
			}
			got.Message, want.Message = nil, nil
			if !got.Until.Equal(want.Until) {
				b.Fatalf("message %d: until %v, want %v", i, got.Until, want.Until)
			}
			got.Until, want.Until = time.Time{}, time.Time{}
			if got != want {
				b.Fatalf("message %d (%s) is %+v, want %+v", i, stored[i].State, got, want)
			}
		}
		stored[4].Body[0] = 'X'
		b.wantReceived(b.s, "ready")
	})
}

// Stats are exact, the age is that of the oldest publication wherever it stands
// in the queue, and what waits for its key becomes ready later.
func TestStatsAreExact(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		old := &broker.Message{ID: "old", Key: "k", PublishedAt: time.Now().Add(-time.Hour)}
		b.publish("1:k", "2:k")
		if err := b.p.Publish(b.Context(), "q", old); err != nil {
			b.Fatal(err)
		}
		b.publish("dead", "b")
		time.Sleep(time.Minute)
		want := func(ready, inFlight, delayed int64, age time.Duration, dead int64) {
			b.Helper()
			got, err := b.s.Stats(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if want := (broker.Stats{
				Ready: broker.Known(ready), InFlight: broker.Known(inFlight), Delayed: broker.Known(delayed),
				OldestAge: broker.Known(age), DeadLetters: broker.Known(dead),
			}); got != want {
				b.Fatalf("stats are %+v, want %+v", got, want)
			}
		}
		want(3, 0, 2, time.Hour+time.Minute, 0)
		ds := b.wantReceived(b.s, "1:k", "dead", "b")
		b.settle(b.s, broker.Settlement{Delivery: &ds[1], Action: broker.DeadLetter, Failure: record("x")})
		b.settle(b.s, broker.Settlement{Delivery: &ds[2], Action: broker.Retry, After: time.Hour})
		want(0, 1, 3, time.Hour+time.Minute, 1)
		b.ack(b.s, ds[0])
		b.ack(b.s, b.receive(b.s, 1)...) // 2:k
		b.ack(b.s, b.receive(b.s, 1)...) // old
		want(0, 0, 1, time.Minute, 1)
		time.Sleep(time.Hour)
		b.ack(b.s, b.receive(b.s, 1)...)
		want(0, 0, 0, 0, 1)
	})
}

// Drained returns when the last message was acknowledged or dead-lettered, not
// while one is only delayed or leased.
func TestDrainedWaitsForTheLastMessage(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		if err := b.Drained(b.Context(), "q"); err != nil {
			b.Fatal(err)
		}
		b.publish("a", "b")
		done := make(chan error, 2)
		go func() { done <- b.Drained(b.Context(), "q") }()
		go func() {
			ctx, cancel := context.WithTimeout(b.Context(), time.Second)
			defer cancel()
			done <- b.Drained(ctx, "q")
		}()
		b.wantIs(<-done, context.DeadlineExceeded)
		b.ack(b.s, *b.one(b.s))
		bb := b.one(b.s)
		b.settle(b.s, broker.Settlement{Delivery: bb, Action: broker.Retry, After: time.Minute})
		synctest.Wait()
		select {
		case <-done:
			b.Fatal("drained although a message is delayed")
		default:
		}
		b.settle(b.s, broker.Settlement{Delivery: b.one(b.s), Action: broker.DeadLetter, Failure: record("x")})
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		b.wantIs(b.Drained(b.Context(), "nowhere"), broker.ErrNotFound)
		_, err := b.Stats("nowhere")
		b.wantIs(err, broker.ErrNotFound)
	})
}

// Declaring again is harmless with the same settings and refused with others; a
// queue made by default as a dead-letter queue can still be declared.
func TestDeclareTwice(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		for _, c := range []struct {
			q  Queue
			ok bool
		}{
			{Queue{Name: "q"}, true},
			{Queue{Name: "q", Lease: DefaultLease}, true},
			{Queue{Name: "q", Lease: time.Second}, false},
			{Queue{Name: "q.dlq", MaxMessages: 5}, true},
			{Queue{Name: "q.dlq", MaxMessages: 6}, false},
			{Queue{Name: "p", DeadLetter: "q.dlq"}, true},
			{Queue{Name: "r", DeadLetter: "r"}, false},
		} {
			if err := b.Declare(c.q); c.ok != (err == nil) || !c.ok && !errors.Is(err, broker.ErrInvalid) {
				b.Fatalf("declare %+v: %v", c.q, err)
			}
		}
	})
}
