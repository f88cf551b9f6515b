package middleware

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/idempotency"
	"github.com/anyqueue/anyqueue/runtime"
	"github.com/anyqueue/anyqueue/telemetry"
)

// Dedupe handles a message once, however often it is delivered or published. It
// claims the message's key in the store before the handler runs, marks it as
// done after the handler has returned nil, and gives it back when the handler
// returned anything else, panicked or ended its goroutine: a message that failed
// is never mistaken for one that was done.
//
//	the key is               the message is
//	-----------------------  -----------------------------------------------------
//	new                      handled; the claim is extended meanwhile
//	done                     acknowledged, not handled
//	being worked on          given back for a moment, unspent, until it is done or new
//	used by another payload  dead-lettered, class data
//
// When the store does not answer, the message is not handled: it fails with class
// dependency, named "idempotency store", or resource where the store is full, and
// is retried.
//
// When the claim is lost while the handler runs, because the store could not be
// reached for a whole Lease or somebody removed the claim, the handler's context
// is cancelled with a cause that matches [idempotency.ErrClaimLost] and
// [broker.ErrLeaseLost], and the message is given back, unspent, whatever the
// handler returns.
//
// # When work is done twice all the same
//
//   - The process dies after the effect and before the mark: the work is done
//     again when the lease has ended.
//   - The mark cannot be stored although it is tried for twice StoreTimeout. The
//     work is done, so the message is acknowledged: to give it back would do the
//     work again for certain, while a missing mark does so only if a duplicate
//     comes after the lease. An error is logged.
//   - A handler ignores the cancellation after its claim was lost, or goes on
//     after its attempt has ended for longer than the lease.
//   - A duplicate comes after the Retention, or the store loses its records.
//
// Where that is not acceptable make the effect itself conditional: a unique key
// in the same transaction, an idempotency key passed to the service. Dedupe then
// keeps the duplicates away from it.
//
// The store is shared by all processes that consume the queue, or duplicates are
// recognised only within each.
func Dedupe(store idempotency.Store, o DedupeOptions) runtime.Middleware {
	m := runtime.Middleware{Name: "dedupe", Unique: true, Err: o.validate(store)}
	if m.Err != nil {
		return m
	}
	m.Wrap = func(next runtime.Handler) runtime.Handler {
		g := &dedupe{store: store, o: o, next: next}
		return g.handle
	}
	return m
}

// storeName is the store as failure.DependencyName knows it, so that a circuit
// breaker for another dependency does not take it for its own.
const storeName = "idempotency store"

// dedupe is the middleware of one consumer.
type dedupe struct {
	store  idempotency.Store
	o      DedupeOptions
	next   runtime.Handler
	once   sync.Once
	checks *telemetry.Dedupe // nil when it could not be made
}

func (g *dedupe) handle(ctx context.Context, d *broker.Delivery) error {
	consumer := ""
	if info, ok := runtime.InfoFrom(ctx); ok {
		consumer = info.Consumer
	}
	key := g.o.Key(d)
	if key == "" {
		return runtime.DeadLetter(failure.Data(errors.New(
			"dedupe: the message has no identity to recognise duplicates by; set an ID when publishing, or DedupeOptions.Key")))
	}
	scope := g.o.Scope
	if scope == "" {
		scope = consumer
	}
	claim := idempotency.NewClaim(scoped(scope, key), g.o.Fingerprint(d))

	begun := time.Now()
	answer, err := g.claim(ctx, claim)
	if err != nil {
		g.count(ctx, consumer, telemetry.DedupeError)
		return g.unclaimed(ctx, d, claim, err)
	}
	g.count(ctx, consumer, answer.State.String())
	switch answer.State {
	case idempotency.New:
		return g.work(ctx, d, claim, begun)
	case idempotency.Duplicate:
		g.log(ctx, slog.LevelDebug, d, "duplicate acknowledged", slog.String("handled_as", string(answer.Result)))
		if g.o.OnDuplicate != nil {
			g.o.OnDuplicate(ctx, d)
		}
		return nil
	case idempotency.InProgress:
		return runtime.Release(spread(min(answer.Remaining, g.o.InProgressDelay)), "dedupe: another delivery of the same work is in progress")
	case idempotency.Conflict:
		g.log(ctx, slog.LevelWarn, d, "one identity with two payloads; the message is dead-lettered")
		return runtime.DeadLetter(failure.Data(errors.New("dedupe: the same identity was used for another payload: " +
			"its publisher gives two different requests one ID, or DedupeOptions.Key is too coarse for DedupeOptions.Fingerprint")))
	default:
		return fmt.Errorf("dedupe: the store answered %d, which is no idempotency.State", answer.State)
	}
}

func (g *dedupe) claim(ctx context.Context, c idempotency.Claim) (idempotency.Answer, error) {
	call, cancel := runtime.WithTimeout(ctx, g.o.StoreTimeout)
	defer cancel()
	return g.store.Claim(call, c, g.o.Lease)
}

// unclaimed is the failure of a message that was not handled because its claim
// failed.
func (g *dedupe) unclaimed(ctx context.Context, d *broker.Delivery, c idempotency.Claim, err error) error {
	switch {
	case errors.Is(err, idempotency.ErrFull):
		return failure.Resource(fmt.Errorf("dedupe: claim the message: %w", err))
	case errors.Is(err, broker.ErrInvalid): // refused, so that nothing is left behind
	default:
		// The claim may have been made all the same, and would be in the way.
		if err := g.bounded(context.WithoutCancel(ctx), func(ctx context.Context) error { return g.store.Release(ctx, c) }); err != nil {
			g.log(ctx, slog.LevelDebug, d, "a claim that failed may be left until its lease ends", slog.Any("error", err))
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("dedupe: claim the message: %w: %w", err, context.Cause(ctx))
	}
	return failure.DependencyOf(storeName, fmt.Errorf("dedupe: claim the message in the idempotency store: %w", err))
}

// work runs the handler under the claim.
func (g *dedupe) work(ctx context.Context, d *broker.Delivery, c idempotency.Claim, begun time.Time) error {
	work, k := g.keep(ctx, c, begun)
	returned := false
	defer func() {
		if !returned { // a panic on its way through, or Goexit: the work failed
			_ = k.stop() // lost or not, it is to be given back
			g.release(ctx, d, c)
		}
	}()
	err := g.next(work, d)
	returned = true

	lost := k.stop()
	switch {
	case lost != nil:
		g.log(ctx, slog.LevelWarn, d, "claim lost while its handler ran; the message is given back", slog.Any("error", lost))
		return release(0, fmt.Errorf("dedupe: %w", lost))
	case err != nil:
		g.release(ctx, d, c)
		return err
	default:
		g.complete(ctx, d, c)
		return nil
	}
}
