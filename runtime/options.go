package runtime

import (
	"log/slog"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/telemetry"
)

// Ordering says what order handlers keep.
type Ordering string

// The orderings.
const (
	// OrderNone: any free worker takes the next message. The default.
	OrderNone Ordering = "none"
	// OrderKey: messages of one key run one at a time, in order; different keys
	// run in parallel. A failing message holds back its own key alone. Messages
	// without a key have no order.
	OrderKey Ordering = "key"
)

// Options configures a [Consumer]. The zero value is usable: every zero field
// means its documented default.
type Options struct {
	// Name identifies the consumer in telemetry, logs, dead letters and Explain, and
	// separates its idempotency claims from those of others. Default: broker and
	// queue ("memory/refunds"). It is to be the same in every process that runs the
	// consumer, and different for each consumer of a process.
	Name string

	// Concurrency is how many handlers run at once. Default 10; 1 to 100,000. A
	// handler that waits for the network costs little more than its memory: set
	// it to what the dependencies can bear.
	Concurrency int
	// MaxInFlight is the most messages that are received and not yet settled:
	// running, waiting for a worker, held for a retry, waiting to be settled.
	// Default 16 times Concurrency, at least 64; at least Concurrency. The buffer of
	// messages that wait for a worker is kept far smaller while handlers are slow,
	// so that nothing waits here that another worker could do.
	MaxInFlight int
	// MaxInFlightBytes bounds their bytes, as broker.Message.Size counts. It may be
	// exceeded by one message. Default 64 MiB; at least 1.
	MaxInFlightBytes int
	// Ordering is OrderNone (default) or OrderKey.
	Ordering Ordering

	// Timeout is the longest that one attempt may run before its context is
	// cancelled; an error that the handler then returns is of class timeout, while a
	// handler that returns nil all the same has succeeded. 0, the default: no limit
	// of its own; negative is a fault. Where the broker cannot extend leases the
	// attempt is in any case ended before its lease is.
	Timeout time.Duration
	// MaxLease is the longest that a message is kept leased by extension, from its
	// receipt. Default 1 h, or a margin below the broker's cap where that is lower. It
	// must exceed Timeout. When it ends the attempt fails with class timeout: it bounds what a
	// handler that hangs can hide.
	MaxLease time.Duration

	// Retry is the one retry policy.
	Retry RetryPolicy
	// MaxAbandoned is how often a message may come back without any settlement
	// (the process was killed, the connection broke) before it is dead-lettered
	// with class crash, unhandled. Default 5; negative: no limit.
	MaxAbandoned int

	// BatchSize and BatchWait are for batch handlers: a batch runs when BatchSize
	// messages are ready (default 10, or MaxInFlight where that is less), or BatchWait after the
	// first of them became ready (default 100 ms; negative: at once).
	BatchSize int
	BatchWait time.Duration

	// DrainTimeout is how long running handlers may go on after shutdown began.
	// Default 30 s; negative: they are cancelled at once. Set it below the time
	// that your platform waits before it kills.
	DrainTimeout time.Duration
	// StopTimeout is how long handlers may take to return after they were
	// cancelled, and after that how long settling and closing may take. Default
	// 5 s. A handler still running then is reported as stuck and left behind.
	StopTimeout time.Duration

	// StallAfter is when health turns bad: work waits, a worker is free, and
	// nothing started for so long. Default 1 min.
	StallAfter time.Duration

	// StatsEvery is how often the broker is asked what the queue looks like, for
	// metrics and health. Default 15 s; negative: never. Every consumer reports what
	// it was told of the same queue: take the maximum over instances, not the sum.
	StatsEvery time.Duration

	// Middleware wraps the handler, the first outermost.
	Middleware []Middleware

	// Logger gets what an operator must know. Default slog.Default() from level
	// warn up. Bodies are never logged.
	Logger *slog.Logger
	// Telemetry says where spans and metrics go, OpenTelemetry's global providers by
	// default, and how detailed they are. System, Destination and Consumer are filled
	// in, and the server's address unless it is set.
	Telemetry telemetry.Config
	// CodeVersion is written into dead letters. Default: the main module's version
	// or VCS revision from the build information.
	CodeVersion string
}

// RetryPolicy is the one retry layer: one budget per message, spent by every
// failed attempt wherever it was repeated.
type RetryPolicy struct {
	// MaxAttempts is the budget: how often a message is tried in all. Default 5; 1
	// means never again; 1 to 1,000. A change of class does not start it anew.
	MaxAttempts int
	// MaxElapsed ends retries this long after the first failure (after the first
	// publication where the broker cannot carry the failure record). 0, the
	// default: no limit.
	MaxElapsed time.Duration
	// Backoff is the delay between attempts, unless the class has its own.
	Backoff Backoff
	// MaxHold is how long, in all, one delivery may be held inside the process
	// between failed attempts, where the broker could delay it instead: the lease is
	// extended, no worker is taken. The default, 0, sends every retry through the
	// broker, so that the count of attempts is safe there before the next one
	// begins. Held retries save a round trip each, but a process that is killed
	// forgets the attempts of the hold.
	//
	// Where the broker cannot delay, or delaying would break the order of keys,
	// retries are held whatever this says.
	MaxHold time.Duration
	// Classes overrides the defaults for single classes:
	//
	//	format, data   dead-lettered at once
	//	crash          dead-lettered at once
	//	resource       soon: from 50 ms, factor 2, up to 5 s
	//	dependency     with long backoff: from 1 s, factor 3, up to 5 min
	//	bug            3 attempts in all
	//	timeout, unclassified   Backoff and MaxAttempts as above
	Classes map[failure.Class]ClassPolicy
}

// ClassPolicy is what is different for one class of failure.
type ClassPolicy struct {
	// MaxAttempts is the budget when an attempt fails with this class; 0: that of
	// the policy, which it cannot exceed. 1: dead-letter at once.
	MaxAttempts int
	// Backoff replaces the policy's when not zero.
	Backoff Backoff
}

// Backoff is exponential backoff with full jitter: before attempt n+1 it waits a
// random time between 0 and Initial * Factor^(n-1), at most Max.
type Backoff struct {
	// Initial is the upper end of the first wait. Default 200 ms.
	Initial time.Duration
	// Max caps the wait. Default 1 min; at least Initial.
	Max time.Duration
	// Factor multiplies it each time; it is a real number, 1.5 means 1.5. Default
	// 2; at least 1.
	Factor float64
	// Jitter is how much of the wait is random, 0 < Jitter <= 1. Default 1, full
	// jitter: waits spread from 0. 0.2 waits between 80 % and 100 %. Negative: none.
	Jitter float64
}

// Intent is what a driver is told before it opens the queue; o may have zero
// fields.
func (o Options) Intent() broker.Intent {
	d := o.withDefaults()
	return broker.Intent{
		MaxAttempts:  d.Retry.MaxAttempts,
		MaxAbandoned: max(d.MaxAbandoned, 0),
		Delays:       d.Retry.ladder(),
		Ordered:      d.Ordering == OrderKey,
		MaxInFlight:  d.MaxInFlight,
		Concurrency:  d.Concurrency,
		Timeout:      d.Timeout,
	}
}
