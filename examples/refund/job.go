package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/config"
	"github.com/anyqueue/anyqueue/idempotency"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

// job is one run of the program.
type job struct {
	file    *config.File
	source  func(desk) source
	trouble trouble
	timeout time.Duration
	log     *slog.Logger
	watch   func(context.Context, *run) // shows progress until ctx ends; nil: nobody looks

	// sabotage takes the chain and the handler apart, in tests that break a promise.
	sabotage func(*shop, []runtime.Middleware) ([]runtime.Middleware, runtime.Handler)
}

// Why a run ended before all was done.
var (
	errInterrupted = errors.New("interrupted")
	errTooLong     = errors.New("not done in time")
	errNoConsumer  = errors.New("the consumer has ended")
)

// run is a job under way.
type run struct {
	shop
	worker    *config.Worker
	consumer  *runtime.Consumer
	dead      broker.Subscription // of the dead-letter queue
	publisher publisher
	start     time.Time
}

// run does the whole job: it publishes, consumes, waits until every message has
// come to its end, drains, and says what there is now. When ctx ends before that
// it drains all the same, and outcome.stopped says why.
func (j *job) run(ctx context.Context, id string) (result *outcome, err error) {
	worker, err := j.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, worker.Close(context.WithoutCancel(ctx))) }()
	r, err := j.prepare(worker, id)
	if err != nil {
		return nil, err
	}
	if r.dead, err = worker.OpenDeadLetters(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.dead.Close(context.WithoutCancel(ctx))) }()

	limited, cancel := context.WithTimeoutCause(ctx, j.timeout, errTooLong)
	defer cancel()
	running, stop := context.WithCancel(limited)
	defer stop()
	consumed, published, watched := make(chan error, 1), make(chan error, 1), make(chan struct{})
	go func() {
		defer stop() // without a consumer there is nothing to wait for
		consumed <- r.consumer.Run(running)
	}()
	go func() {
		defer close(watched)
		if j.watch != nil {
			j.watch(running, r)
		}
	}()
	go func() { published <- r.publisher.run(running, j.source(desk{r.orders, r.accounts})) }()
	stopped := awaitPublished(running, published)
	if stopped == nil {
		stopped = r.await(running)
	}
	elapsed := time.Since(r.start)
	switch {
	case stopped == nil:
	case ctx.Err() != nil:
		stopped = errInterrupted
	case limited.Err() != nil:
		stopped = errTooLong
	case running.Err() != nil:
		stopped = errNoConsumer
	}
	stop()
	consumerErr := <-consumed
	<-watched
	return r.conclude(context.WithoutCancel(ctx), elapsed, stopped, consumerErr)
}

// open opens the queue. What the broker refuses for good is to be corrected in the
// configuration; that nobody answers may have another reason.
func (j *job) open(ctx context.Context) (*config.Worker, error) {
	worker, err := j.file.Open(ctx)
	switch {
	case err == nil:
		return worker, nil
	case errors.Is(err, broker.ErrDisconnected):
		return nil, fmt.Errorf("%w\nIs the broker running, and is this its address? To try this out, start one with\n"+
			"  scripts/servers up && eval \"$(scripts/servers env)\"", err)
	}
	for _, refused := range []error{broker.ErrAccessDenied, broker.ErrNotFound, broker.ErrInvalid, broker.ErrUnsupported} {
		if errors.Is(err, refused) {
			return nil, usageError{err}
		}
	}
	return nil, err
}

// prepare makes everything that takes part.
func (j *job) prepare(worker *config.Worker, id string) (*run, error) {
	r := &run{worker: worker, start: time.Now()}
	r.orders, r.payments, r.accounts = newOrderBook(), newPayments(j.trouble), newAccounts(id)
	store, err := idempotency.NewMemory(idempotency.MemoryOptions{})
	if err != nil {
		return nil, err
	}
	chain, handler := r.middleware(store, j.log), r.refund
	if j.sabotage != nil {
		chain, handler = j.sabotage(&r.shop, chain)
	}
	worker.Options.Logger = j.log
	if r.consumer, err = worker.Consumer(handler, chain...); err != nil {
		return nil, err
	}
	r.publisher = publisher{to: worker.Publisher(), queue: worker.Queue(), backlog: r.backlog}

	// Every broker delivers a message twice now and then. The embedded one does so
	// only when it is told to.
	if sub, ok := worker.Subscription().(*memory.Subscription); ok {
		err = sub.Broker().Inject(worker.Queue(), memory.Faults{Deliver: memory.When(
			func(op memory.Op) bool { return r.accounts.willBeAnswered(op.Message.ID) },
			memory.Every(100, memory.Duplicate()),
		)})
	}
	return r, err
}

// conclude gathers what there is after the consumer has drained.
func (r *run) conclude(ctx context.Context, elapsed time.Duration, stopped, consumerErr error) (*outcome, error) {
	ledger := r.consumer.Ledger()
	dead, err := sweep(ctx, r.dead, r.accounts.knows, ledger.DeadLettered)
	if errors.Is(stopped, errTooLong) {
		if left := r.accounts.unfinished(dead); len(left) > 0 {
			stopped = fmt.Errorf("%w: %d messages are neither acknowledged nor dead-lettered, the first is %s", stopped, len(left), left[0])
		}
	}
	return &outcome{
		orders: r.orders, payments: r.payments, accounts: r.accounts,
		sent: r.publisher.sent.Load(), duplicates: r.duplicates.Load(), openings: r.openings.Load(),
		ledger: ledger, failures: r.consumer.Stats().Failures, dead: dead,
		elapsed: elapsed, stopped: stopped,
	}, errors.Join(consumerErr, err)
}
