package runtime

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// Causes with which a handler's context is cancelled; [context.Cause] returns an
// error that matches one of them, or [broker.ErrLeaseLost].
var (
	// ErrTimeout: the attempt's time is over. ctx.Err is context.DeadlineExceeded.
	ErrTimeout = errors.New("attempt timed out")
	// ErrShutdown: the consumer stops and the drain timeout is over.
	ErrShutdown = errors.New("consumer is shutting down")
)

// Info is what a handler may know about its attempt.
type Info struct {
	// Consumer is the consumer's name.
	Consumer string
	// Attempt is the number of this attempt, 1 the first time. Attempts spent by
	// [Step] count.
	Attempt int
	// MaxAttempts is the budget. Attempt == MaxAttempts: a failure of this attempt
	// is the last one.
	MaxAttempts int
	// Delivery is the message.
	Delivery *broker.Delivery
}

type infoKey struct{}

// InfoFrom returns what is known about the attempt that ctx belongs to; false
// when ctx does not come from a handler.
func InfoFrom(ctx context.Context) (Info, bool) {
	a, ok := ctx.Value(infoKey{}).(*attempt)
	if !ok {
		return Info{}, false
	}
	return a.info(), true
}

// WithTimeout is [context.WithTimeout] with [ErrTimeout] as the cause. It starts
// no timer until somebody asks the returned context for its Done channel, which
// makes it cheap around work that never looks.
func WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	c := &lazyCtx{parent: ctx, deadline: time.Now().Add(d)}
	if p, ok := ctx.Deadline(); ok && p.Before(c.deadline) {
		c.deadline = p
	}
	return c, c.finish
}

// lazyCtx is a context that becomes a real one, with a channel and a timer, when
// somebody asks for Done, and until then costs nothing. Most handlers of cheap
// work never ask; those that do I/O pay what context.WithDeadlineCause costs.
//
// Only when it has become real can it be cancelled from outside, so cancel makes
// it real first: context.Cause finds causes in real ones only.
type lazyCtx struct {
	parent   context.Context
	deadline time.Time // zero: none; never later than the parent's
	real     atomic.Pointer[realCtx]
}

type realCtx struct {
	context.Context
	cancel context.CancelCauseFunc
	stop   context.CancelFunc // of the deadline; nil without one
}

// finished stands in for the real context of one that ended unseen.
var finished = func() *realCtx {
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // nobody's: it has ended
	cancel()
	return &realCtx{Context: ctx}
}()

func (c *lazyCtx) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

func (c *lazyCtx) Done() <-chan struct{} { return c.materialize().Done() }

func (c *lazyCtx) Err() error {
	if r := c.real.Load(); r != nil {
		return r.Err()
	}
	if c.expired() {
		return c.materialize().Err()
	}
	return c.parent.Err()
}

func (c *lazyCtx) Value(key any) any {
	r := c.real.Load()
	if r == nil && c.expired() {
		r = c.materialize() // so that context.Cause finds ErrTimeout
	}
	if r == nil || r == finished {
		return c.parent.Value(key)
	}
	return r.Value(key)
}

func (c *lazyCtx) expired() bool {
	return !c.deadline.IsZero() && time.Until(c.deadline) <= 0
}

func (c *lazyCtx) materialize() *realCtx {
	if r := c.real.Load(); r != nil {
		return r
	}
	r := &realCtx{}
	r.Context, r.cancel = context.WithCancelCause(c.parent)
	if !c.deadline.IsZero() {
		r.Context, r.stop = context.WithDeadlineCause(r.Context, c.deadline, ErrTimeout)
	}
	if c.real.CompareAndSwap(nil, r) {
		return r
	}
	r.end(nil) // somebody else was first
	return c.real.Load()
}

// cancel ends the context with a cause.
func (c *lazyCtx) cancel(cause error) { c.materialize().end(cause) }

// finish ends the context because what it was for has returned.
func (c *lazyCtx) finish() {
	if c.real.Load() == nil && c.real.CompareAndSwap(nil, finished) {
		return
	}
	c.real.Load().end(nil)
}

func (r *realCtx) end(cause error) {
	if r == finished {
		return
	}
	r.cancel(cause)
	if r.stop != nil {
		r.stop()
	}
}

// attempt is the context of one run of the handler.
type attempt struct {
	lazyCtx
	c *Consumer
	t *task
	d *broker.Delivery // t's, which may be gone from there when the handler has returned

	mu     sync.Mutex      // Step may be called from several of the handler's goroutines
	number int             // the attempt's number; Step raises it
	record *failure.Record // of earlier attempts, those spent by Step included
}

func (a *attempt) Value(key any) any {
	if _, ok := key.(infoKey); ok {
		return a
	}
	return a.lazyCtx.Value(key)
}

// lostLease says whether the attempt was cancelled because its lease was lost.
func (a *attempt) lostLease() bool {
	r := a.real.Load()
	return r != nil && errors.Is(context.Cause(r), broker.ErrLeaseLost)
}

func (a *attempt) info() Info {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Info{
		Consumer:    a.c.opt.Name,
		Attempt:     a.number,
		MaxAttempts: a.c.opt.Retry.MaxAttempts,
		Delivery:    a.d,
	}
}
