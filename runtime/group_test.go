package runtime

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
)

// consumerOf makes a consumer of one message, in a bubble.
func consumerOf(t *testing.T, h Handler, o Options) *Consumer {
	t.Helper()
	b := memory.New(memory.Options{})
	t.Cleanup(b.Close)
	if err := b.Declare(memory.Queue{Name: "q"}); err != nil {
		t.Fatal(err)
	}
	if err := b.Publisher().Publish(t.Context(), "q", &broker.Message{}); err != nil {
		t.Fatal(err)
	}
	sub, err := b.Subscribe("q", memory.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(sub, h, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The first signal drains, the second cuts the drain short.
func TestSecondSignalCutsTheDrainShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := consumerOf(t, func(ctx context.Context, _ *broker.Delivery) error {
			<-ctx.Done()
			return ctx.Err()
		}, Options{DrainTimeout: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		signals := make(chan os.Signal)
		ended := make(chan error)
		start := time.Now()
		go func() { ended <- runUntil(ctx, cancel, signals, []*Consumer{c}) }()
		time.Sleep(time.Second)
		signals <- os.Interrupt
		time.Sleep(time.Minute)
		if h := c.Health(); h.Status != "draining" || !h.Healthy {
			t.Errorf("after the first signal: %s", h)
		}
		signals <- os.Interrupt
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != time.Minute+time.Second {
			t.Errorf("ended after %s, want 1m1s", took)
		}
		if l := c.Ledger(); l.Released != 1 {
			t.Errorf("ledger %+v", l)
		}
	})
}

// When one of several consumers ends, the others are shut down with it.
func TestConsumersOfOneRunEndTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ok := func(context.Context, *broker.Delivery) error { return nil }
		a, b := consumerOf(t, ok, Options{Name: "a"}), consumerOf(t, ok, Options{Name: "b"})
		time.AfterFunc(time.Minute, func() { _ = a.sub.Close(context.WithoutCancel(t.Context())) })
		err := Run(t.Context(), a, b)
		if err == nil || a.Health().Status != "stopped" || b.Health().Status != "stopped" {
			t.Errorf("err %v, a %s, b %s", err, a.Health(), b.Health())
		}
		if a.Ledger().Acked != 1 || b.Ledger().Acked != 1 {
			t.Errorf("ledgers %+v %+v", a.Ledger(), b.Ledger())
		}
	})
	if err := Run(t.Context()); err == nil {
		t.Error("Run of nothing succeeded")
	}
}
