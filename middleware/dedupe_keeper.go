package middleware

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/idempotency"
)

// keeper keeps a claim while its handler runs, and cancels the handler when the
// claim is lost. It has a goroutine only if the handler runs for a third of the
// lease.
type keeper struct {
	cancel context.CancelCauseFunc // ends the handler's context
	timer  *time.Timer             // starts the goroutine
	end    context.CancelFunc      // ends the goroutine
	ended  chan struct{}           // closed when the goroutine has ended
	lost   error                   // why the claim is lost; read after ended
}

// keep starts to keep the claim that was asked for at begun, and returns the
// context that the handler is to have.
func (g *dedupe) keep(ctx context.Context, c idempotency.Claim, begun time.Time) (context.Context, *keeper) {
	k := &keeper{ended: make(chan struct{})}
	work, cancel := context.WithCancelCause(ctx)
	calls, end := context.WithCancel(context.WithoutCancel(ctx))
	k.cancel, k.end = cancel, end
	k.timer = time.AfterFunc(time.Until(begun.Add(g.o.Lease/3)), func() {
		defer close(k.ended)
		if err := g.extendUntilDone(calls, ctx, c, begun.Add(g.o.Lease)); err != nil {
			k.lost = err
			k.cancel(fmt.Errorf("%w: %w", broker.ErrLeaseLost, err))
		}
	})
	return work, k
}

// stop ends the keeping and the handler's context, and returns why the claim was
// lost, nil if it was not.
func (k *keeper) stop() error {
	k.end()
	if !k.timer.Stop() {
		<-k.ended
	}
	k.cancel(nil)
	return k.lost
}

// extendUntilDone extends the claim, which lasts until a deadline, each third of
// its lease. A failed call is tried again until the deadline. It returns nil when
// calls ends, because the handler has returned, or when attempt does: a handler
// that goes on although its attempt is over keeps its claim for what is left of
// the lease, and no longer, so that it cannot hide the message for ever.
func (g *dedupe) extendUntilDone(calls, attempt context.Context, c idempotency.Claim, until time.Time) error {
	var failed error
	for time.Until(until) > 0 {
		asked := time.Now()
		wait := g.o.Lease / 3
		err := g.extend(calls, c, until)
		select {
		case <-calls.Done():
			return nil
		default:
		}
		switch {
		case err == nil:
			until, failed = asked.Add(g.o.Lease), nil
		case errors.Is(err, idempotency.ErrClaimLost):
			return err
		default:
			wait, failed = g.o.Lease/15, err
		}
		timer := time.NewTimer(max(min(time.Until(asked.Add(wait)), time.Until(until)), time.Millisecond))
		select {
		case <-timer.C:
		case <-attempt.Done():
			timer.Stop()
			return nil
		case <-calls.Done():
			timer.Stop()
			return nil
		}
	}
	if failed == nil {
		failed = errors.New("the process was asleep")
	}
	return fmt.Errorf("%w: it could not be extended in time: %w", idempotency.ErrClaimLost, failed)
}

// extend makes one call, which must not outlast the claim.
func (g *dedupe) extend(ctx context.Context, c idempotency.Claim, until time.Time) error {
	call, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	return g.bounded(call, func(ctx context.Context) error { return g.store.Extend(ctx, c, g.o.Lease) })
}
