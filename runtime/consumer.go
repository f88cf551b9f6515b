package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/telemetry"
)

// Errors of Run.
var (
	// ErrStuck: handlers ignored their cancellation and were left behind. Their
	// messages will be delivered again when their leases end.
	ErrStuck = errors.New("handlers are stuck")
	// ErrRunning: Run was called a second time. A Consumer runs once.
	ErrRunning = errors.New("consumer was started before; make a new one")
)

// Consumer runs a handler on the messages of one subscription. Make it with
// [New] or [NewBatch], and call [Consumer.Run] once. All other methods may be
// called at any time from any goroutine.
type Consumer struct {
	opt          Options
	sub          broker.Subscription
	cap          broker.Capabilities
	handler      Handler // the whole chain
	batchHandler BatchHandler
	policy       policy
	holdsAll     bool // see holdsRetry
	log          *slog.Logger
	tel          *telemetry.Worker

	flight   *flight
	health   health
	queue    queueStats
	sessions sessions
	workers  sync.WaitGroup
	started  atomic.Bool
	phase    atomic.Int32
	hurry    context.Context // ended to cut the drain short
	cutShort context.CancelFunc
	pause    pause

	waited, completed atomic.Int64 // when a duration was last sampled
}

// New returns a consumer that runs h on the messages of sub. It reports every
// fault of the options and every combination that this broker makes impossible
// at once, as joined [*broker.FieldError]. The consumer closes sub when Run
// returns.
func New(sub broker.Subscription, h Handler, o Options) (*Consumer, error) {
	if h == nil {
		return newConsumer(sub, nil, nil, o, &broker.FieldError{Field: "Handler", Problem: "is nil; pass a function"})
	}
	return newConsumer(sub, h, nil, o, nil)
}

// NewBatch returns a consumer that runs h on batches. Middleware works as it
// does for single messages: it is run for each item, and the items of a batch
// come together where the innermost would call the handler.
func NewBatch(sub broker.Subscription, h BatchHandler, o Options) (*Consumer, error) {
	if h == nil {
		return newConsumer(sub, nil, nil, o, &broker.FieldError{Field: "Handler", Problem: "is nil; pass a function"})
	}
	return newConsumer(sub, nil, h, o, nil)
}

func newConsumer(sub broker.Subscription, h Handler, bh BatchHandler, o Options, fault error) (*Consumer, error) {
	if bh == nil {
		var f faults
		const hint = "is for batch handlers; leave it out, or use NewBatch"
		f.check(o.BatchSize == 0, "BatchSize", o.BatchSize, hint)
		f.check(o.BatchWait == 0, "BatchWait", o.BatchWait, hint)
		fault = errors.Join(fault, f.err())
	}
	invalid := errors.Join(fault, o.Validate())
	if sub == nil {
		return nil, errors.Join(invalid, &broker.FieldError{Field: "Subscription", Problem: "is nil; pass an adapter's subscription"})
	}
	capabilities := sub.Capabilities()
	resolved, impossible := o.withDefaults().resolve(capabilities, bh != nil)
	if err := errors.Join(invalid, impossible); err != nil {
		return nil, fmt.Errorf("runtime: consumer options: %w", err)
	}
	about := resolved.Telemetry
	about.System, about.Destination, about.Consumer = capabilities.System, capabilities.Source, resolved.Name
	if about.ServerAddress == "" {
		about.ServerAddress, about.ServerPort = capabilities.Server.Address, capabilities.Server.Port
	}
	tel, err := telemetry.NewWorker(about)
	if err != nil {
		return nil, fmt.Errorf("runtime: telemetry: %w", err)
	}
	c := &Consumer{
		opt: resolved, sub: sub, cap: capabilities, batchHandler: bh,
		policy: newPolicy(resolved.Retry),
		log:    resolved.Logger.With("consumer", resolved.Name),
		tel:    tel,
	}
	c.hurry, c.cutShort = context.WithCancel(context.Background()) //nolint:forbidigo,gosec // the consumer's own end, not a request's
	if bh != nil && len(resolved.Middleware) > 0 {
		h = meet // where the items of a batch come together
	}
	if h != nil {
		if c.handler, err = chain(h, resolved.Middleware); err != nil {
			return nil, fmt.Errorf("runtime: consumer options: %w", err)
		}
	}
	c.holdsAll = c.policy.longestWait() <= resolved.Retry.MaxHold
	c.flight = c.newFlight()
	return c, nil
}

// chain wraps h, the first middleware outermost.
func chain(h Handler, middleware []Middleware) (Handler, error) {
	for i, m := range slices.Backward(middleware) {
		if h = m.Wrap(h); h == nil {
			return nil, &broker.FieldError{Field: fmt.Sprintf("Middleware[%d].Wrap", i), Value: m.Name, Problem: "returned nil; return a handler"}
		}
	}
	return h, nil
}

func (c *Consumer) newFlight() *flight {
	f := &flight{
		c:           c,
		epoch:       time.Now(),
		timeout:     c.opt.Timeout,
		extends:     c.cap.Extends,
		trims:       c.cap.ReleaseIsFree,
		ordered:     c.opt.Ordering == OrderKey,
		limit:       c.opt.MaxInFlight,
		maxBytes:    c.opt.MaxInFlightBytes,
		workers:     workers{limit: c.opt.Concurrency},
		wakeup:      newSignals(),
		keys:        map[string]*keyQueue{},
		handlerTime: unknown,
	}
	f.workers.spawn = func(w *worker) { c.workers.Go(func() { c.work(w) }) }
	if c.batchHandler != nil {
		f.batch = batching{size: c.opt.BatchSize, wait: max(c.opt.BatchWait, 0)}
	}
	return f
}

// Name returns the consumer's name.
func (c *Consumer) Name() string { return c.opt.Name }

// Pause stops receiving: a Receive that is under way is cancelled, and what it
// brings all the same is given back. What is in flight goes on.
func (c *Consumer) Pause() { c.pause.begin() }

// Resume ends a Pause.
func (c *Consumer) Resume() {
	c.pause.end()
	notify(c.flight.wakeup.fetch)
}

func (c *Consumer) now() time.Duration { return c.flight.now() }

// Phases of a consumer's life, in their order.
const (
	phaseNew int32 = iota
	phaseRunning
	phaseDraining
	phaseStopped
)

// Run consumes until ctx ends or the broker says something final, then shuts
// down in order: it stops receiving, releases what never started, lets running
// handlers finish until DrainTimeout, cancels the rest with [ErrShutdown],
// settles all outcomes, and closes the subscription.
//
// It returns nil after a clean shutdown, [ErrStuck] when handlers had to be left
// behind, and otherwise what went wrong. Handlers do not see ctx's end, but they
// see its values.
func (c *Consumer) Run(ctx context.Context) error {
	if c.started.Swap(true) {
		return ErrRunning
	}
	base := context.WithoutCancel(ctx)
	work, cancelWork := context.WithCancel(base) // calls of the adapter
	defer cancelWork()
	c.flight.base = base
	c.health.start(c.now())
	c.phase.Store(phaseRunning)

	// The stages that serve what is in flight live until it has landed.
	stop := make(chan struct{})
	var stages sync.WaitGroup
	c.sessions = sessions{c: c, stop: stop, wg: &stages, seen: map[*broker.Session]struct{}{}}
	stages.Go(func() { c.keep(stop) })
	stages.Go(func() { c.extend(work, stop) })
	stages.Go(func() { c.wakeUp(stop) })
	for range max(c.cap.SettleCalls, 1) {
		stages.Go(func() { c.settleLoop(work, stop) })
	}
	stages.Go(func() { c.pollQueue(work, stop) })
	stages.Go(func() { c.watchStuck(stop) })
	unregister, err := c.export()
	if err != nil {
		c.log.Warn("some metrics will be missing", "error", err)
	}

	receiving, stopReceiving := context.WithCancel(ctx)
	defer stopReceiving()
	fetched := make(chan error, 1)
	go func() { fetched <- c.fetch(receiving) }()
	var fault error
	fetching := true
	select {
	case <-ctx.Done():
	case <-c.hurry.Done():
	case fault = <-fetched:
		fetching = false
	}
	stopReceiving()
	c.phase.Store(phaseDraining)
	shutdown := c.shutdown(work, fetched, fetching)

	cancelWork()
	close(stop)
	if !within(base, c.opt.StopTimeout, stages.Wait) {
		shutdown = errors.Join(shutdown, fmt.Errorf(
			"runtime: consumer %q: a call of the adapter did not return within %s of its cancellation", c.opt.Name, c.opt.StopTimeout))
	}
	c.phase.Store(phaseStopped)
	if err := unregister(); err != nil {
		c.log.Warn("metrics could not be unregistered", "error", err)
	}
	if fault != nil {
		fault = fmt.Errorf("runtime: consumer %q: receive: %w", c.opt.Name, fault)
	}
	return errors.Join(fault, shutdown)
}
