package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/idempotency"
	"github.com/anyqueue/anyqueue/middleware"
	"github.com/anyqueue/anyqueue/runtime"
)

// dependency is the payment service's name, for failures and for the breaker.
const dependency = "payments"

// callTimeout bounds one call of the payment service.
const callTimeout = 250 * time.Millisecond

// shop is what the handler works on.
type shop struct {
	orders   *orderBook
	payments *payments
	accounts *accounts

	duplicates atomic.Int64 // messages that Dedupe recognised
	openings   atomic.Int64 // how often the breaker opened
	breaker    *middleware.Breaker
}

// first lets the first request for an order through to the payment, and answers
// the others: they need no payment service, so they must neither wait for it nor
// be counted as its successes by the circuit breaker.
//
// What keeps an order from being refunded twice is not that messages come once,
// nor that they come in order: it is the order's own state here, and behind that
// the idempotency key that the payment service is given. Order per key and Dedupe
// keep nearly all of the work away from them.
func (s *shop) first(next runtime.Handler) runtime.Handler {
	return func(ctx context.Context, d *broker.Delivery) error {
		r := middleware.MustDecoded[request](ctx)
		if err := r.check(); err != nil {
			return failure.Data(err)
		}
		o, ok := s.orders.get(r.Order)
		switch {
		case !ok:
			return failure.Data(fmt.Errorf("order %s does not exist", r.Order))
		case o.cancelled:
			return failure.Data(fmt.Errorf("order %s is cancelled, so there is nothing to refund", r.Order))
		case o.refundedBy != "":
			s.answer(d.ID, o.refundedBy)
			return nil
		}
		return next(ctx, d)
	}
}

// refund has the order paid back. It may run twice for one order, after a crash
// or a timeout: then the payment service recognises the key and pays nothing.
func (s *shop) refund(ctx context.Context, d *broker.Delivery) error {
	r := middleware.MustDecoded[request](ctx)
	// The key is the order, not the message: whoever asks, there is one refund.
	if err := s.payments.refund(ctx, r.Order, r.Order, r.Amount); err != nil {
		return failure.DependencyOf(dependency, fmt.Errorf("refund order %s: %w", r.Order, err))
	}
	s.answer(d.ID, s.orders.markRefunded(r.Order, d.ID))
	return nil
}

// answer tells a requester who has the money. To be told that somebody else was
// first is an answer like any other, not a failure.
func (s *shop) answer(id, refundedBy string) {
	if refundedBy == id {
		s.accounts.answered(id, paid)
	} else {
		s.accounts.answered(id, declined)
	}
}

// remember is for how long duplicates are recognised. Those of this job come
// within seconds; a real one would remember for days, in a database.
const remember = 5 * time.Second

// middleware is the chain around the handler, the outermost first.
func (s *shop) middleware(store idempotency.Store, log *slog.Logger) []runtime.Middleware {
	s.breaker = middleware.NewBreaker(middleware.BreakerOptions{
		Name: dependency, Window: 500 * time.Millisecond, OpenFor: 250 * time.Millisecond, MaxOpenFor: time.Second,
		OnStateChange: func(c middleware.BreakerChange) {
			if c.To == middleware.BreakerOpen {
				s.openings.Add(1)
			}
			log.Info("circuit breaker", "dependency", c.Name, "from", c.From, "to", c.To, "for", c.OpenFor)
		},
	})
	return []runtime.Middleware{
		s.accounts.middleware(),
		middleware.Logging(middleware.LoggingOptions{Logger: log}),
		// A version that is not known yet may be a deployment under way. This job
		// waits a second for it, where a real one would wait a day.
		middleware.Decode(middleware.DecodeOptions{
			Schemas: schemas(), UnknownDelay: 200 * time.Millisecond, UnknownFor: time.Second,
		}),
		middleware.Dedupe(store, middleware.DedupeOptions{
			Retention: remember, Lease: 2 * time.Second, Logger: log,
			OnDuplicate: func(context.Context, *broker.Delivery) { s.duplicates.Add(1) },
		}),
		{Name: "first request of the order", Wrap: s.first},
		s.breaker.Middleware(),
		middleware.Timeout(callTimeout),
	}
}
