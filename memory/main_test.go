package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a broker with one queue, "q", a publisher and a first consumer.
type bench struct {
	*testing.T
	*Broker
	p *Publisher
	s *Subscription
}

// inBubble runs f in fake time on a queue made as q says.
func inBubble(t *testing.T, q Queue, f func(b *bench)) {
	t.Helper()
	inBubbleWith(t, q, SubscribeOptions{}, f)
}

func inBubbleWith(t *testing.T, q Queue, o SubscribeOptions, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		q.Name = "q"
		b := &bench{T: t, Broker: New(Options{})}
		defer b.Broker.Close()
		if err := b.Declare(q); err != nil {
			t.Fatal(err)
		}
		b.p = b.Publisher()
		b.s = b.subscribe("q", o)
		f(b)
	})
}

func (b *bench) subscribe(queue string, o SubscribeOptions) *Subscription {
	b.Helper()
	s, err := b.Subscribe(queue, o)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// publish publishes messages with the bodies and, after a colon, keys: "a:k".
func (b *bench) publish(bodies ...string) {
	b.Helper()
	for _, body := range bodies {
		m := &broker.Message{ID: body, Body: []byte(body)}
		if _, key, ok := cutLast(body, ':'); ok {
			m.Key = key
		}
		if err := b.p.Publish(b.Context(), "q", m); err != nil {
			b.Fatal(err)
		}
	}
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == sep {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// receive returns up to n deliveries; it waits for the first.
func (b *bench) receive(s *Subscription, n int) []broker.Delivery {
	b.Helper()
	ds, err := s.Receive(b.Context(), broker.Credit{Messages: n, Bytes: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	return ds
}

func (b *bench) one(s *Subscription) *broker.Delivery {
	b.Helper()
	ds := b.receive(s, 1)
	return &ds[0]
}

// wantNothing fails when anything can be received within d.
func (b *bench) wantNothing(s *Subscription, d time.Duration) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), d)
	defer cancel()
	ds, err := s.Receive(ctx, broker.Credit{Messages: 100, Bytes: 1 << 20})
	if !errors.Is(err, context.DeadlineExceeded) || ds != nil {
		b.Fatalf("received %v, %v; want nothing for %v", bodies(ds), err, d)
	}
}

func (b *bench) wantReceived(s *Subscription, want ...string) []broker.Delivery {
	b.Helper()
	ds := b.receive(s, 100)
	if got := bodies(ds); !slices.Equal(got, want) {
		b.Fatalf("received %q, want %q", got, want)
	}
	return ds
}

func (b *bench) settle(s *Subscription, x broker.Settlement) {
	b.Helper()
	if err := s.Settle(b.Context(), []broker.Settlement{x}); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) ack(s *Subscription, ds ...broker.Delivery) {
	b.Helper()
	for i := range ds {
		b.settle(s, broker.Settlement{Delivery: &ds[i], Action: broker.Ack})
	}
}

// settleErr is the error of the one settlement of a call, which must be named.
func (b *bench) settleErr(s *Subscription, x broker.Settlement) error {
	b.Helper()
	return b.named(s.Settle(b.Context(), []broker.Settlement{x}))
}

// named returns the error of element 0, which err must name.
func (b *bench) named(err error) error {
	b.Helper()
	if err == nil {
		return nil
	}
	var failed *broker.SettleError
	if !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].Index != 0 {
		b.Fatalf("error is %v, want a SettleError that names element 0", err)
	}
	return failed.Failed[0].Err
}

func (b *bench) wantIs(err, target error) {
	b.Helper()
	if !errors.Is(err, target) {
		b.Fatalf("error is %v, want one that matches %q", err, target)
	}
}

// wantStats compares counts: ready, in flight, delayed, waiting.
func (b *bench) wantStats(queue string, ready, inFlight, delayed, waiting int) {
	b.Helper()
	st, err := b.Stats(queue)
	if err != nil {
		b.Fatal(err)
	}
	if got, want := [...]int{st.Ready, st.InFlight, st.Delayed, st.Waiting}, [...]int{ready, inFlight, delayed, waiting}; got != want {
		b.Fatalf("%s has [ready in-flight delayed waiting] = %v, want %v", queue, got, want)
	}
}

func bodies(ds []broker.Delivery) []string {
	var out []string
	for _, d := range ds {
		out = append(out, string(d.Body))
	}
	return out
}

func record(text string) *failure.Record {
	return &failure.Record{Version: 1, Class: failure.ClassData, Fingerprint: text, Count: 1}
}

func messages(n int) []*broker.Message {
	ms := make([]*broker.Message, n)
	for i := range ms {
		ms[i] = &broker.Message{ID: fmt.Sprint(i), Body: fmt.Append(nil, i)}
	}
	return ms
}
