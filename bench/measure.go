package bench

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"runtime/metrics"
	"time"
)

// attemptTimeout is the time limit of one attempt where a contender has one. It
// never runs out here: what is measured is what it costs to have it.
const attemptTimeout = 30 * time.Second

// Contender is one way to bring messages from a publisher to a handler.
type Contender struct {
	Name string
	// Keyed says that it can keep the order of a key.
	Keyed bool
	// Start starts a consumer that calls h for each message.
	Start func(ctx context.Context, c Case, items []Item, h Handle) (Pipe, error)
}

// Sample is what one run of n messages took, in all.
type Sample struct {
	Messages int
	Wall     time.Duration
	// CPU is user and system time of the whole process, garbage collection
	// included; 0 where the operating system does not tell.
	CPU    time.Duration
	Allocs uint64 // heap objects
	Bytes  uint64 // of heap objects
}

// WallNS is wall time per message.
func (s Sample) WallNS() float64 { return float64(s.Wall) / float64(s.Messages) }

// CPUNS is CPU time per message.
func (s Sample) CPUNS() float64 { return float64(s.CPU) / float64(s.Messages) }

// AllocsPer is heap objects per message.
func (s Sample) AllocsPer() float64 { return float64(s.Allocs) / float64(s.Messages) }

// BytesPer is bytes of heap objects per message.
func (s Sample) BytesPer() float64 { return float64(s.Bytes) / float64(s.Messages) }

// Measure starts the contender, warms it up, and measures one run of n messages.
func (ct Contender) Measure(ctx context.Context, c Case, n int) (_ Sample, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s, %s: %w", ct.Name, c, err)
		}
	}()
	flow := NewFlow(c.Window)
	p, err := ct.Start(ctx, c, c.Items(), func(string, []byte) { flow.Done() })
	if err != nil {
		return Sample{}, fmt.Errorf("start: %w", err)
	}
	defer func() { err = errors.Join(err, p.Stop()) }()

	if err := Run(ctx, p, flow, min(n, 2000)); err != nil {
		return Sample{}, fmt.Errorf("warm up: %w", err)
	}
	return measure(n, func() error { return Run(ctx, p, flow, n) })
}

// measure takes the difference of the process's counters around run.
func measure(n int, run func() error) (Sample, error) {
	m := StartMeter()
	err := run()
	return m.Sample(n), err
}

// Meter is the state of the process's counters when a measurement began.
type Meter struct {
	objects, bytes uint64
	cpu            time.Duration
	start          time.Time
}

// StartMeter begins a measurement, with a collection of garbage: what came before
// is not this run's.
func StartMeter() *Meter {
	goruntime.GC()
	return ContinueMeter()
}

// ContinueMeter begins a measurement in the midst of a run, where a collection
// would be part of what is measured. It does not wait for one that is under way.
func ContinueMeter() *Meter {
	var m Meter
	m.objects, m.bytes = allocated()
	m.cpu, m.start = cpuTime(), time.Now()
	return &m
}

// Sample returns what n messages have taken since the measurement began.
func (m *Meter) Sample(n int) Sample {
	wall, cpu := time.Since(m.start), cpuTime()-m.cpu
	objects, bytes := allocated()
	return Sample{Messages: n, Wall: wall, CPU: cpu, Allocs: objects - m.objects, Bytes: bytes - m.bytes}
}

// allocated is what was ever put on the heap. The counters of runtime.MemStats are
// more exact by what one P has at hand, but they stop the world, and first wait
// for the end of a collection.
func allocated() (objects, bytes uint64) {
	s := []metrics.Sample{
		{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/tiny/allocs:objects"}, {Name: "/gc/heap/allocs:bytes"},
	}
	metrics.Read(s)
	return s[0].Value.Uint64() + s[1].Value.Uint64(), s[2].Value.Uint64()
}

// Settle collects garbage before a run that is measured in its midst.
func Settle() { goruntime.GC() }
