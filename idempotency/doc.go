// Package idempotency remembers which work has been done, so that a message that
// is delivered twice, or published twice, takes effect once.
//
// A [Store] keeps one record per key. A [Claim] is a lease on a key: taken
// before the work, extended while the work runs, completed when it succeeded,
// released when it failed, and lost to somebody else when its holder let it run
// out. Package middleware puts one around a handler ([middleware.Dedupe]); this
// package is also good on its own, for an HTTP handler with an idempotency key.
//
//	claim := idempotency.NewClaim("refund:"+order, fingerprint)
//	answer, err := store.Claim(ctx, claim, time.Minute)
//	switch {
//	case err != nil:
//		return err // nothing is known: do not do the work
//	case answer.State != idempotency.New:
//		return respond(answer) // done before, under way, or another payload
//	}
//	if err := pay(ctx, order); err != nil {
//		return errors.Join(err, store.Release(context.WithoutCancel(ctx), claim))
//	}
//	return store.Complete(context.WithoutCancel(ctx), claim, 30*24*time.Hour, nil)
//
// # What it promises and what it cannot
//
// While a claim is held and its store keeps its records, nobody else gets New
// for its key. After Complete, everybody gets Duplicate until the retention is
// over. A claim that failed leaves no trace: the next one is New.
//
// What remains is the moment between the effect and Complete. A process that
// dies there has done the work and left no mark: when its lease has ended the
// next claim is New and the work is done again. No store outside of the effect's
// own transaction can close that gap. Close it where it counts: make the effect
// conditional (a unique key in the same transaction, an idempotency key passed to
// the payment service), and let this package keep the rest, which is nearly all,
// away from it.
//
// [middleware.Dedupe]: https://pkg.go.dev/github.com/anyqueue/anyqueue/middleware#Dedupe
package idempotency
