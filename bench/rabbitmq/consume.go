package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/anyqueue/anyqueue/bench"
)

// Case is one setting in which consumers are compared.
type Case struct {
	Body     int // bytes
	Prefetch int
}

// Cases returns all cases.
func Cases() []Case {
	var cases []Case
	for _, body := range []int{100, 1024} {
		for _, prefetch := range []int{100, 1000} {
			cases = append(cases, Case{body, prefetch})
		}
	}
	return cases
}

func (c Case) String() string { return fmt.Sprintf("body %d B, prefetch %d", c.Body, c.Prefetch) }

// Handle is the whole work of a handler.
type Handle func()

// load is what a consumer is started with.
type load struct {
	Case
	server *Server
	total  int // messages in the queue
	handle Handle
}

// Consumer is one way to consume.
type Consumer struct {
	Name string
	// start begins to consume; stop ends it and releases what it has.
	start func(ctx context.Context, l load) (stop func() error, err error)
}

// String is the name.
func (c Consumer) String() string { return c.Name }

// Names of the consumers.
const (
	NameRaw       = "raw client, acks each"
	NameRawMulti  = "raw client, acks up to 100 at once"
	NameEach      = "adapter alone, acks each"
	NameCoalesced = "adapter alone, acks in batches"
	NameRuntime   = "anyqueue, metrics off"
	NameFull      = "anyqueue"
	NameWatermill = "Watermill"
)

// Consumers returns all.
func Consumers() []Consumer {
	return []Consumer{
		{NameRaw, startRaw(1)},
		{NameRawMulti, startRaw(100)},
		{NameEach, startAdapter(1)},
		{NameCoalesced, startAdapter(500)},
		{NameRuntime, startRuntime(false)},
		{NameFull, startRuntime(true)},
		{NameWatermill, startWatermill},
	}
}

// patience bounds one run.
const patience = 2 * time.Minute

// lastAcks is how long a consumer stays connected after its last message. A
// quorum queue's channel keeps acknowledgements back while earlier ones are being
// written, and those are lost when it is closed at once.
const lastAcks = 200 * time.Millisecond

// Measure fills the queue, consumes all of it, and returns what n messages in the
// midst of it took.
func (c Consumer) Measure(ctx context.Context, s *Server, in Case, n int) (_ bench.Sample, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s, %s: %w", c.Name, in, err)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// At both ends of what is measured the client has a full prefetch before it.
	g := newGauge(2*in.Prefetch, n, 2*in.Prefetch)
	if err := s.Fill(ctx, g.total, in.Body); err != nil {
		return bench.Sample{}, fmt.Errorf("fill the queue: %w", err)
	}
	bench.Settle()
	stop, err := c.start(ctx, load{in, s, g.total, g.handled})
	if err != nil {
		return bench.Sample{}, fmt.Errorf("start: %w", err)
	}
	err = g.wait(ctx)
	<-time.After(lastAcks)
	if err := errors.Join(err, stop()); err != nil {
		return bench.Sample{}, err
	}
	if n := g.count.Load(); n != int64(g.total) {
		return bench.Sample{}, fmt.Errorf("%d messages were handled of %d", n, g.total)
	}
	return g.sample, s.Drained(ctx)
}

// gauge counts messages and measures those in the midst of a run.
type gauge struct {
	from, to, total int
	count           atomic.Int64
	meter           atomic.Pointer[bench.Meter]
	sample          bench.Sample
	measured, done  chan struct{}
}

func newGauge(lead, n, tail int) *gauge {
	return &gauge{
		from: lead, to: lead + n, total: lead + n + tail,
		measured: make(chan struct{}), done: make(chan struct{}),
	}
}

// handled counts one message. It is safe for concurrent use.
func (g *gauge) handled() {
	switch n := int(g.count.Add(1)); n {
	case g.from:
		g.meter.Store(bench.ContinueMeter())
	case g.to:
		if m := g.meter.Load(); m != nil { // nil: other handlers have overtaken the one that starts it
			g.sample = m.Sample(g.to - g.from)
		}
		close(g.measured)
	case g.total:
		close(g.done)
	}
}

func (g *gauge) wait(ctx context.Context) error {
	for _, c := range []chan struct{}{g.measured, g.done} {
		select {
		case <-c:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d messages handled: %w", g.count.Load(), g.total, ctx.Err())
		}
	}
	if g.sample.Messages == 0 {
		return ErrTooShort
	}
	return nil
}

// ErrTooShort says that a run ended before anything could be measured: the messages
// were handled, and there are no figures.
var ErrTooShort = errors.New("the run was too short to be measured")
