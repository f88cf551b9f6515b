package config

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/runtime"
)

// Worker is an opened configuration: the queue, both directions of it, and the
// options for its consumer.
type Worker struct {
	// Options is what the consumer section says. Set what has no key in a file
	// (Logger, Telemetry, Middleware) before making the consumer.
	Options runtime.Options

	file     *File
	endpoint *broker.Endpoint
	sub      *closedOnce
	taken    atomic.Bool // the subscription has its consumer
	closed   atomic.Bool
}

// Open reads the file at path with [Load] and connects to the broker that it
// names. ctx bounds the connecting, not the worker's life. Call [Worker.Close] at
// the end.
//
// A file that is wrong, or wrong for what the broker turns out to be, is an
// [*Error]; what the broker answers when it is reached is the driver's error.
func Open(ctx context.Context, path string, drivers ...broker.Driver) (*Worker, error) {
	file, err := Load(path, drivers...)
	if err != nil {
		return nil, err
	}
	return file.Open(ctx)
}

// Open connects to the broker, as the function [Open] does.
func (f *File) Open(ctx context.Context) (*Worker, error) {
	endpoint, err := f.driver.Open(ctx, f.settings, f.Queue, f.Options.Intent())
	if err != nil {
		faults, rest := f.blame(err, f.blameSettings)
		if len(rest) > 0 {
			rest = []error{fmt.Errorf("config: %s: open queue %q on %s: %w", f.Name, f.Queue, f.Broker, errors.Join(rest...))}
		}
		return nil, both(faults, rest)
	}
	if endpoint == nil || endpoint.Subscription == nil || endpoint.Publisher == nil {
		return nil, fmt.Errorf("config: %s: driver %q opened half a queue; it must return a Subscription and a Publisher", f.Name, f.Broker)
	}
	return &Worker{
		Options:  f.Options,
		file:     f,
		endpoint: endpoint,
		sub:      &closedOnce{Subscription: endpoint.Subscription},
	}, nil
}

// Consumer returns a consumer that runs h with Options, the middleware after
// that of Options.Middleware. A fault in an option that the file gave, or one that
// this broker makes impossible, is an [*Error] with its place in the file; any
// other is the error of [runtime.New].
//
// There is one consumer per worker, because it takes the subscription: open the
// file again for a second one.
func (w *Worker) Consumer(h runtime.Handler, mw ...runtime.Middleware) (*runtime.Consumer, error) {
	return w.consumer(mw, func(o runtime.Options) (*runtime.Consumer, error) { return runtime.New(w.sub, h, o) })
}

// BatchConsumer is [Worker.Consumer] for a handler of batches.
func (w *Worker) BatchConsumer(h runtime.BatchHandler, mw ...runtime.Middleware) (*runtime.Consumer, error) {
	return w.consumer(mw, func(o runtime.Options) (*runtime.Consumer, error) { return runtime.NewBatch(w.sub, h, o) })
}

func (w *Worker) consumer(mw []runtime.Middleware, build func(runtime.Options) (*runtime.Consumer, error)) (*runtime.Consumer, error) {
	if w.closed.Load() {
		return nil, fmt.Errorf("config: %s: the worker is closed: %w", w.file.Name, broker.ErrClosed)
	}
	if w.taken.Swap(true) {
		return nil, fmt.Errorf("config: %s: the worker has its consumer already; open the file again for another", w.file.Name)
	}
	o := w.Options
	o.Middleware = slices.Concat(o.Middleware, mw)
	c, err := build(o)
	if err == nil {
		return c, nil
	}
	w.taken.Store(false)
	faults, rest := w.file.blame(err, func(goPath string) (string, reflect.Type, bool) {
		if !sameAt(o, w.file.said, goPath) {
			return "", nil, false // code set it; the file is innocent
		}
		return w.file.blameOption(goPath)
	})
	return nil, both(faults, rest)
}

// both returns faults of the file and other errors as one error.
func both(faults []Fault, rest []error) error {
	if len(rest) == 0 {
		return newError(faults)
	}
	return errors.Join(newError(faults), errors.Join(rest...))
}

// Publisher publishes to the broker, to this queue or another. It is safe for
// concurrent use, and closed by [Worker.Close].
func (w *Worker) Publisher() broker.Publisher { return w.endpoint.Publisher }

// Queue is the name to publish to so that the consumer receives it.
func (w *Worker) Queue() string { return w.endpoint.Queue }

// DeadLetter is the name of the dead-letter queue, "" if there is none.
func (w *Worker) DeadLetter() string { return w.endpoint.DeadLetter }

// OpenDeadLetters opens the dead-letter queue, to read what failed and why; close
// what it returns. It fails with [broker.ErrUnsupported] where there is none.
func (w *Worker) OpenDeadLetters(ctx context.Context) (broker.Subscription, error) {
	if w.endpoint.OpenDeadLetters == nil {
		return nil, fmt.Errorf("config: %s: queue %q has no dead-letter queue: %w", w.file.Name, w.file.Queue, broker.ErrUnsupported)
	}
	return w.endpoint.OpenDeadLetters(ctx)
}

// Subscription is the adapter's own, for what only this broker can do, such as
// [github.com/anyqueue/anyqueue/memory.Subscription.Broker]. It belongs to the
// consumer: do not receive from it or close it.
func (w *Worker) Subscription() broker.Subscription { return w.endpoint.Subscription }

// Close closes the subscription, unless the consumer's Run did, and then the
// publisher; ctx bounds the waiting. Call it after Run has returned. Later calls
// do nothing.
func (w *Worker) Close(ctx context.Context) error {
	if w.closed.Swap(true) {
		return nil
	}
	err := errors.Join(w.sub.Close(ctx), w.endpoint.Publisher.Close(ctx))
	if err != nil {
		return fmt.Errorf("config: %s: close queue %q on %s: %w", w.file.Name, w.file.Queue, w.file.Broker, err)
	}
	return nil
}

// closedOnce lets both the consumer, which closes its subscription when Run
// returns, and the worker, whose consumer may never have run, close it.
type closedOnce struct {
	broker.Subscription
	done atomic.Bool
}

// Close closes the subscription the first time.
func (s *closedOnce) Close(ctx context.Context) error {
	if s.done.Swap(true) {
		return nil
	}
	return s.Subscription.Close(ctx)
}
