package middleware

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/idempotency"
	"github.com/anyqueue/anyqueue/runtime"
	"github.com/anyqueue/anyqueue/telemetry"
)

// settlePause is how long the store is left alone between two tries.
const settlePause = 100 * time.Millisecond

// complete marks the work as done. It reports no error: see [Dedupe].
func (g *dedupe) complete(ctx context.Context, d *broker.Delivery, c idempotency.Claim) {
	err := g.insist(ctx, func(ctx context.Context) error {
		return g.store.Complete(ctx, c, g.o.Retention, []byte(d.ID))
	})
	switch {
	case err == nil:
	case errors.Is(err, idempotency.ErrClaimLost):
		g.log(ctx, slog.LevelWarn, d, "work done, but the claim had been taken over: it may be done twice", slog.Any("error", err))
	default:
		g.log(ctx, slog.LevelError, d, "work done and acknowledged, but not marked as done: a duplicate that comes "+
			"after the lease will be handled again; see to the idempotency store", slog.Any("error", err))
	}
}

// release gives the claim back, so that the message can be handled again. When
// that fails the end of the lease does it.
func (g *dedupe) release(ctx context.Context, d *broker.Delivery, c idempotency.Claim) {
	err := g.insist(ctx, func(ctx context.Context) error { return g.store.Release(ctx, c) })
	if err != nil && !errors.Is(err, idempotency.ErrClaimLost) {
		g.log(ctx, slog.LevelWarn, d, "claim of a failed message not released: it waits until the lease ends", slog.Any("error", err))
	}
}

// insist makes a call that must not be left out because the attempt has ended,
// and tries it again while it may help: for twice StoreTimeout in all.
func (g *dedupe) insist(ctx context.Context, call func(context.Context) error) error {
	all, cancel := runtime.WithTimeout(context.WithoutCancel(ctx), 2*g.o.StoreTimeout)
	defer cancel()
	for {
		err := g.bounded(all, call)
		if err == nil || errors.Is(err, idempotency.ErrClaimLost) || errors.Is(err, broker.ErrInvalid) {
			return err
		}
		pause := time.NewTimer(settlePause)
		select {
		case <-pause.C:
		case <-all.Done():
			pause.Stop()
			return err
		}
	}
}

// bounded makes one call with the time of one exchange.
func (g *dedupe) bounded(ctx context.Context, call func(context.Context) error) error {
	one, cancel := runtime.WithTimeout(ctx, g.o.StoreTimeout)
	defer cancel()
	return call(one)
}

// count counts one check. The instrument is made with the first message, which
// knows the consumer.
func (g *dedupe) count(ctx context.Context, consumer, result string) {
	g.once.Do(func() {
		checks, err := telemetry.NewDedupe(telemetry.Config{Meter: g.o.MeterProvider, Consumer: consumer})
		if err != nil {
			g.o.Logger.LogAttrs(ctx, slog.LevelWarn, "dedupe: checks are not counted", slog.Any("error", err))
			return
		}
		g.checks = checks
	})
	if g.checks != nil {
		g.checks.Checked(ctx, result)
	}
}

func (g *dedupe) log(ctx context.Context, level slog.Level, d *broker.Delivery, what string, extra ...slog.Attr) {
	if !g.o.Logger.Enabled(ctx, level) {
		return
	}
	g.o.Logger.LogAttrs(ctx, level, "dedupe: "+what, append(extra,
		slog.String("queue", d.Source), slog.String("message_id", d.ID), slog.Int("attempt", attempt(ctx, d)))...)
}
