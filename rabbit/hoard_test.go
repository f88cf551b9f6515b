package rabbit

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/internal/faultlab"
)

// station is a consumer of a queue of its own on a real server.
type station struct {
	*testing.T
	server, name string
	settings     Settings
	intent       broker.Intent
	publisher    broker.Publisher
}

func newStation(t *testing.T, in broker.Intent) *station {
	t.Helper()
	server := faultlab.Need(t, "ANYQUEUE_RABBITMQ_URL")
	in.MaxAttempts, in.MaxAbandoned = 5, 5
	s := &station{T: t, server: server, name: unique("station"), settings: Settings{URL: broker.NewSecret(server)}, intent: in}
	makeQueues(t, server, s.settings, s.name, in)
	p, err := NewPublisher(t.Context(), s.settings)
	if err != nil {
		t.Fatal(err)
	}
	s.publisher = p
	t.Cleanup(func() { _ = p.Close(context.WithoutCancel(t.Context())) })
	return s
}

func (s *station) consumer() *Subscription {
	s.Helper()
	end, err := Open(s.Context(), s.settings, s.name, s.intent)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		ctx := context.WithoutCancel(s.Context())
		_ = end.Subscription.Close(ctx)
		_ = end.Publisher.Close(ctx)
	})
	return end.Subscription.(*Subscription)
}

func (s *station) publish(n int) {
	s.Helper()
	messages := make([]*broker.Message, n)
	for i := range messages {
		messages[i] = &broker.Message{Body: fmt.Append(nil, "message ", i)}
	}
	if err := s.publisher.Publish(s.Context(), s.name, messages...); err != nil {
		s.Fatal(err)
	}
}

// receive takes n messages within the time, in as many calls as it needs.
func (s *station) receive(sub *Subscription, n int, within time.Duration) []broker.Delivery {
	s.Helper()
	ctx, done := context.WithTimeout(s.Context(), within)
	defer done()
	var all []broker.Delivery
	for len(all) < n {
		ds, err := sub.Receive(ctx, broker.Credit{Messages: n - len(all), Bytes: 1 << 30})
		if err != nil {
			s.Fatalf("received %d of %d messages within %s: %v", len(all), n, within, err)
		}
		all = append(all, ds...)
	}
	return all
}

func (s *station) ack(sub *Subscription, ds []broker.Delivery) {
	s.Helper()
	s.settle(sub, ds, broker.Ack)
}

func (s *station) settle(sub *Subscription, ds []broker.Delivery, action broker.Action) {
	s.Helper()
	settlements := make([]broker.Settlement, len(ds))
	for i := range ds {
		settlements[i] = broker.Settlement{Delivery: &ds[i], Action: action}
	}
	if err := sub.Settle(s.Context(), settlements); err != nil {
		s.Fatal(err)
	}
}

// buffered waits until so many messages have arrived and were not asked for.
func (s *station) buffered(sub *Subscription, n int) {
	s.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		sub.mu.Lock()
		have := len(sub.buffer)
		sub.mu.Unlock()
		if have >= n {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("%d messages wait in the buffer after 10 s, want %d", have, n)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// A worker whose handlers are slow is pushed what they can run and no more: the
// rest is for others.
func TestBusyWorkerTakesNothingFromOthers(t *testing.T) {
	t.Parallel()
	s := newStation(t, broker.Intent{Concurrency: 3, MaxInFlight: 64})
	busy := s.consumer()
	s.publish(50)
	held := s.receive(busy, 3, 10*time.Second)
	idle := s.consumer()
	s.ack(idle, s.receive(idle, 47, 10*time.Second))
	s.ack(busy, held)
}

// A worker that was fast, and then stops asking, gives back what was pushed to it
// and waits here, and consumes again when it asks again.
func TestMessagesThatNobodyAsksForAreGivenToOthers(t *testing.T) {
	t.Parallel()
	s := newStation(t, broker.Intent{Concurrency: 4, MaxInFlight: 256})
	fast := s.consumer()
	s.publish(400)
	for range 100 { // grows the window
		s.ack(fast, s.receive(fast, 2, 10*time.Second))
	}
	held := s.receive(fast, 1, 10*time.Second)
	s.buffered(fast, 1)
	idle := s.consumer()
	s.ack(idle, s.receive(idle, 199, unasked+10*time.Second))
	s.ack(fast, held)
	s.publish(1)
	_ = idle.Close(t.Context())
	s.ack(fast, s.receive(fast, 1, 10*time.Second))
}

// The credit in bytes is kept, and a message above it is delivered alone.
func TestReceiveKeepsItsCreditOfBytes(t *testing.T) {
	t.Parallel()
	s := newStation(t, broker.Intent{Concurrency: 16, MaxInFlight: 64})
	sub := s.consumer()
	body := make([]byte, 1000)
	if err := s.publisher.Publish(t.Context(), s.name, &broker.Message{Body: body}, &broker.Message{Body: body}, &broker.Message{Body: body}); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct{ bytes, want int }{{1, 1}, {2500, 2}} {
		ds, err := sub.Receive(t.Context(), broker.Credit{Messages: 10, Bytes: c.bytes})
		if err != nil || len(ds) != c.want {
			t.Errorf("credit of %d bytes for messages of 1000: %d deliveries, error %v; want %d", c.bytes, len(ds), err, c.want)
		}
		s.ack(sub, ds)
		if i == 0 {
			s.buffered(sub, 2)
		}
	}
}

// A worker whose handlers take longer than messages may wait here is pushed one
// message for each that it asks for, so that none is given back, and none looks as
// if it had been abandoned.
func TestSlowWorkerLeavesNoTrace(t *testing.T) {
	t.Parallel()
	s := newStation(t, broker.Intent{Concurrency: 4, MaxInFlight: 64})
	slow := s.consumer()
	s.publish(30)
	held := s.receive(slow, 4, 10*time.Second)
	for i := range 3 {
		<-time.After(unasked + look + 500*time.Millisecond)
		s.ack(slow, held[i:i+1])
		held = append(held, s.receive(slow, 1, 10*time.Second)...)
	}
	s.ack(slow, held[3:])
	other := s.consumer()
	rest := s.receive(other, 23, 10*time.Second)
	for _, d := range held {
		if d.Abandoned != 0 {
			t.Errorf("%q was never abandoned, and has come back %d times", d.Body, d.Abandoned)
		}
	}
	for _, d := range rest { // the last acks have made room for four that nobody asked for
		if d.Abandoned > 1 {
			t.Errorf("%q was never abandoned, and has come back %d times", d.Body, d.Abandoned)
		}
	}
	s.ack(other, rest)
}

// What is given back unasked again and again counts as abandoned once at most.
func TestMessagesThatNobodyAsksForAreNotTakenForCrashes(t *testing.T) {
	t.Parallel()
	s := newStation(t, broker.Intent{Concurrency: 4, MaxInFlight: 64})
	s.publish(10)
	for range 3 {
		sub := s.consumer()
		ds, err := sub.Receive(t.Context(), broker.Credit{Messages: 10, Bytes: 1}) // pushed ten, takes one
		if err != nil {
			t.Fatal(err)
		}
		s.buffered(sub, 9)
		s.settle(sub, ds, broker.Release)
		if err := sub.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	last := s.consumer()
	all := s.receive(last, 10, 10*time.Second)
	for _, d := range all {
		if d.Abandoned > 1 || d.Attempt != 1 {
			t.Errorf("%q: attempt %d, abandoned %d", d.Body, d.Attempt, d.Abandoned)
		}
	}
	s.ack(last, all)
}

// A consumer whose Receive was cancelled is pushed nothing more, and what it gave
// back is not pushed to it again, so that a worker that drains leaves no trace in
// the count of deliveries. It consumes again when it asks again.
func TestCancelledReceiveStopsThePush(t *testing.T) {
	t.Parallel()
	s := newStation(t, broker.Intent{Concurrency: 8, MaxInFlight: 64})
	sub := s.consumer()
	s.publish(1)
	held := s.receive(sub, 1, 10*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := sub.Receive(ctx, broker.Credit{Messages: 1, Bytes: 1}); !errors.Is(err, context.Canceled) {
		t.Fatalf("Receive after its cancellation: %v", err)
	}
	<-time.After(500 * time.Millisecond) // the consumer is cancelled soon after
	if err := sub.Settle(t.Context(), []broker.Settlement{{Delivery: &held[0], Action: broker.Release}}); err != nil {
		t.Fatal(err)
	}
	s.publish(5)
	for range 30 {
		<-time.After(10 * time.Millisecond)
		sub.mu.Lock()
		n := len(sub.buffer)
		sub.mu.Unlock()
		if n > 0 {
			t.Fatalf("%d messages were pushed to a consumer that wants none", n)
		}
	}
	other := s.consumer()
	all := s.receive(other, 3, 10*time.Second)
	all = append(all, s.receive(other, 3, 10*time.Second)...)
	for _, d := range all {
		if d.Abandoned != 0 || d.Attempt != 1 {
			t.Errorf("%q: attempt %d, abandoned %d", d.Body, d.Attempt, d.Abandoned)
		}
	}
	s.ack(other, all)
	_ = other.Close(t.Context())
	s.publish(1)
	s.ack(sub, s.receive(sub, 1, 10*time.Second))
}
