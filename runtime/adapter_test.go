package runtime_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

// bent is a subscription of which single calls do not keep to the contract.
type bent struct {
	broker.Subscription
	receive func(ctx context.Context, c broker.Credit) ([]broker.Delivery, error)
	settle  func(ctx context.Context, s []broker.Settlement) error
	extend  func(ctx context.Context, d []*broker.Delivery, by time.Duration) error
	stats   func(ctx context.Context) (broker.Stats, error)
}

func (b *bent) Receive(ctx context.Context, c broker.Credit) ([]broker.Delivery, error) {
	if b.receive != nil {
		return b.receive(ctx, c)
	}
	return b.Subscription.Receive(ctx, c)
}

func (b *bent) Settle(ctx context.Context, s []broker.Settlement) error {
	if b.settle != nil {
		return b.settle(ctx, s)
	}
	return b.Subscription.Settle(ctx, s)
}

func (b *bent) Extend(ctx context.Context, d []*broker.Delivery, by time.Duration) error {
	if b.extend != nil {
		return b.extend(ctx, d, by)
	}
	return b.Subscription.Extend(ctx, d, by)
}

func (b *bent) Stats(ctx context.Context) (broker.Stats, error) {
	if b.stats != nil {
		return b.stats(ctx)
	}
	return b.Subscription.Stats(ctx)
}

// A Settle that returns a typed nil has failed, as far as anybody can tell: it is
// made again, and the answer to that counts.
func TestSettleThatReturnsATypedNilIsMadeAgain(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		sub := w.subscribe(memory.SubscribeOptions{})
		calls := 0
		x := w.runOn(&bent{Subscription: sub, settle: func(ctx context.Context, s []broker.Settlement) error {
			if calls++; calls == 1 {
				var none *broker.SettleError
				return none
			}
			return sub.Settle(ctx, s)
		}}, func(context.Context, *broker.Delivery) error { return nil }, runtime.Options{})
		w.publish(body("a"))
		settleDown(time.Minute)
		x.wantLedger(runtime.Ledger{Acked: 1})
		w.wantLeft(0, 0)
	})
}

// A delivery without a message reaches the handler as an empty one.
func TestDeliveryWithoutAMessageIsHandledAsAnEmptyOne(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		sub := w.subscribe(memory.SubscribeOptions{})
		received := false
		var seen record
		x := w.runOn(&bent{
			Subscription: sub,
			receive: func(ctx context.Context, c broker.Credit) ([]broker.Delivery, error) {
				if !received {
					received = true
					return []broker.Delivery{{}}, nil
				}
				return sub.Receive(ctx, c)
			},
			settle: func(context.Context, []broker.Settlement) error { return nil },
		}, func(_ context.Context, d *broker.Delivery) error {
			seen.add("%q #%d", d.Body, d.Attempt)
			return nil
		}, runtime.Options{})
		settleDown(time.Second)
		if got := seen.all(); len(got) != 1 {
			t.Errorf("handled %v", got)
		}
		x.wantLedger(runtime.Ledger{Acked: 1})
	})
}

// A Receive that returns nothing at once is a fault: it is called again with
// growing pauses, and health tells of it.
func TestReceiveThatReturnsNothingDoesNotSpin(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		const enough = 20_000 // where it does spin, no time passes and the test would not end
		sub := w.subscribe(memory.SubscribeOptions{})
		var calls atomic.Int64
		x := w.runOn(&bent{Subscription: sub, receive: func(ctx context.Context, c broker.Credit) ([]broker.Delivery, error) {
			if calls.Add(1) > enough {
				return sub.Receive(ctx, c)
			}
			return nil, nil
		}}, func(context.Context, *broker.Delivery) error { return nil }, runtime.Options{StallAfter: time.Minute})
		settleDown(2 * time.Minute)
		if n := calls.Load(); n > 40 { // one in 5 s, after the first few
			t.Errorf("%d receives in 2 minutes", n)
		}
		x.wantHealth(false, "neither a delivery nor an error")
	})
}

// A lease that is over when its message arrives is lost, not without an end: the
// attempt is cancelled, and the message comes again.
func TestLeaseThatIsOverOnArrivalIsLost(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		sub := w.subscribe(memory.SubscribeOptions{})
		stale := true
		w.publish(body("a"))
		x := w.runOn(&bent{Subscription: sub, receive: func(ctx context.Context, c broker.Credit) ([]broker.Delivery, error) {
			ds, err := sub.Receive(ctx, c)
			for i := range ds {
				if stale {
					ds[i].LeaseUntil = time.Now().Add(-time.Minute)
				}
			}
			stale = false
			return ds, err
		}}, func(ctx context.Context, d *broker.Delivery) error {
			if d.Abandoned == 0 {
				<-ctx.Done()
			}
			return nil
		}, runtime.Options{})
		settleDown(5 * time.Minute)
		x.wantLedger(runtime.Ledger{Acked: 1, Lost: 1})
	})
}

// A call of Extend that hangs is given up on while there is time for another.
func TestOneHungExtendLosesNoLease(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		sub := w.subscribe(memory.SubscribeOptions{})
		calls := 0
		x := w.runOn(&bent{Subscription: sub, extend: func(ctx context.Context, d []*broker.Delivery, by time.Duration) error {
			if calls++; calls == 1 {
				<-ctx.Done() // a connection into a black hole
				return ctx.Err()
			}
			return sub.Extend(ctx, d, by)
		}}, func(ctx context.Context, _ *broker.Delivery) error {
			select {
			case <-time.After(time.Minute):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}, runtime.Options{})
		w.publish(body("a"))
		settleDown(5 * time.Minute)
		x.wantLedger(runtime.Ledger{Acked: 1})
	})
}

// A Stats that ignores its context does not keep Run from returning.
func TestRunReturnsAlthoughStatsHangs(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		free := make(chan struct{})
		defer close(free)
		x := w.runOn(&bent{
			Subscription: w.subscribe(memory.SubscribeOptions{}),
			stats:        func(context.Context) (broker.Stats, error) { <-free; return broker.Stats{}, nil },
		}, func(context.Context, *broker.Delivery) error { return nil }, runtime.Options{})
		settleDown(time.Minute)
		x.stop()
		select {
		case <-x.done:
		case <-time.After(time.Minute):
			t.Error("Run has not returned a minute after it was stopped")
		}
	})
}

// A Receive and a Settle that both hang do not keep Run from returning.
func TestRunReturnsAlthoughReceiveAndSettleHang(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		sub := w.subscribe(memory.SubscribeOptions{})
		free := make(chan struct{})
		defer close(free)
		received := false
		x := w.runOn(&bent{
			Subscription: sub,
			receive: func(ctx context.Context, c broker.Credit) ([]broker.Delivery, error) {
				if !received {
					received = true
					return sub.Receive(ctx, c)
				}
				<-free
				return nil, broker.ErrDisconnected
			},
			settle: func(ctx context.Context, _ []broker.Settlement) error {
				<-ctx.Done()
				return ctx.Err()
			},
		}, func(context.Context, *broker.Delivery) error { return nil }, runtime.Options{StopTimeout: 5 * time.Second})
		w.publish(body("a"))
		settleDown(time.Second)
		start := time.Now()
		if err := x.shutdown(); err == nil {
			t.Error("Run returned nil although an outcome was not settled")
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("Run returned after %s", took)
		}
		x.wantLedger(runtime.Ledger{Lost: 1})
	})
}
