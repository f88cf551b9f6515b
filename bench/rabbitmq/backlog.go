package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Memory is what the process held at a moment of a drain.
type Memory struct {
	Drained int     // messages handled until then
	Heap    float64 // MiB in use: reachable, or garbage that is not yet collected
	Held    float64 // MiB that the last collection found reachable
	RSS     float64 // MiB of the process, 0 where the system does not tell
}

// Backlog is what draining one took.
type Backlog struct {
	Messages int
	Took     time.Duration
	Samples  []Memory
}

const (
	backlogBody = 100 // bytes
	// settledAfter is the part of a drain after which its memory has reached its level.
	settledAfter = 0.1
	// mostGrowth is by how much the later half may hold more than the earlier one.
	mostGrowth = 8 // MiB
)

// DrainBacklog publishes n messages and drains them through the whole runtime, with
// the adapter's own prefetch, and watches the memory of this process meanwhile.
func DrainBacklog(ctx context.Context, s *Server, n int) (*Backlog, error) {
	if err := s.Fill(ctx, n, backlogBody); err != nil {
		return nil, fmt.Errorf("publish a backlog of %d messages: %w", n, err)
	}
	debug.FreeOSMemory() // what publishing took
	var drained atomic.Int64
	done := make(chan struct{})
	start := time.Now()
	stop, err := startRuntime(true)(ctx, load{Case{Body: backlogBody}, s, n, func() {
		if drained.Add(1) == int64(n) {
			close(done)
		}
	}})
	if err != nil {
		return nil, err
	}
	b := &Backlog{Messages: n}
	err = b.watch(ctx, &drained, done)
	b.Took = time.Since(start)
	<-time.After(lastAcks)
	if err := errors.Join(err, stop(), s.Drained(ctx)); err != nil {
		return nil, err
	}
	err = b.flat()
	return b, err
}

// watch samples until done is closed; an idle minute ends it.
func (b *Backlog) watch(ctx context.Context, drained *atomic.Int64, done <-chan struct{}) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	last, moved := int64(0), time.Now()
	for {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		n := drained.Load()
		if n > last {
			last, moved = n, time.Now()
		} else if time.Since(moved) > time.Minute {
			return fmt.Errorf("%d of %d messages were drained, and none for a minute", n, b.Messages)
		}
		b.Samples = append(b.Samples, memory(int(n)))
	}
}

func memory(drained int) Memory {
	const mib = 1 << 20
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	m := Memory{Drained: drained, Heap: float64(s[0].Value.Uint64()) / mib, Held: float64(s[1].Value.Uint64()) / mib}
	// Pages, of which the second number are resident; there is no such file but on Linux.
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := strings.Fields(string(statm)); len(fields) > 1 {
			pages, _ := strconv.Atoi(fields[1])
			m.RSS = float64(pages) * float64(os.Getpagesize()) / mib
		}
	}
	return m
}

// Figures of a sample.
func heapOf(m Memory) float64 { return m.Heap }
func heldOf(m Memory) float64 { return m.Held }
func rssOf(m Memory) float64  { return m.RSS }

// level are the samples in which memory has reached its level.
func (b *Backlog) level() []Memory {
	for i, m := range b.Samples {
		if float64(m.Drained) >= settledAfter*float64(b.Messages) {
			return b.Samples[i:]
		}
	}
	return nil
}

// flat is an error when memory grows with what was drained.
func (b *Backlog) flat() error {
	samples := b.level()
	earlier, later := samples[:len(samples)/2], samples[len(samples)/2:]
	if len(earlier) == 0 {
		return nil // a drain so short has no slope
	}
	var faults []error
	for name, of := range map[string]func(Memory) float64{"reachable heap": heldOf, "resident memory": rssOf} {
		if a, z := mean(earlier, of), mean(later, of); z > a+mostGrowth {
			faults = append(faults, fmt.Errorf("draining %d messages: the %s rose from %.1f MiB in the earlier half to %.1f MiB in the later one", b.Messages, name, a, z))
		}
	}
	return errors.Join(faults...)
}

func mean(samples []Memory, of func(Memory) float64) float64 {
	sum := 0.0
	for _, m := range samples {
		sum += of(m)
	}
	return sum / float64(max(len(samples), 1))
}

func most(samples []Memory, of func(Memory) float64) float64 {
	m := 0.0
	for _, s := range samples {
		m = max(m, of(s))
	}
	return m
}

// slope is the growth per 100,000 messages, by least squares.
func slope(samples []Memory, of func(Memory) float64) float64 {
	n := mean(samples, func(m Memory) float64 { return float64(m.Drained) })
	y := mean(samples, of)
	var up, down float64
	for _, s := range samples {
		d := float64(s.Drained) - n
		up, down = up+d*(of(s)-y), down+d*d
	}
	if down == 0 {
		return 0
	}
	return 100_000 * up / down
}

// String is a table.
func (b *Backlog) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, `%d messages of %d B, drained by the whole runtime with 16 workers in %s: %.0f messages/s. Memory of the
client, sampled %d times; the slope leaves out the first tenth.

| | most | earlier half, later half | slope per 100,000 messages |
| --- | ---: | ---: | ---: |
`, b.Messages, backlogBody, b.Took.Round(time.Millisecond), float64(b.Messages)/b.Took.Seconds(), len(b.Samples))
	level := b.level()
	for _, row := range []struct {
		name string
		of   func(Memory) float64
	}{{"heap in use, garbage included", heapOf}, {"heap that is reachable", heldOf}, {"resident memory of the process", rssOf}} {
		fmt.Fprintf(&text, "| %s | %.1f MiB | %.1f, %.1f MiB | %+.2f MiB |\n", row.name, most(b.Samples, row.of),
			mean(level[:len(level)/2], row.of), mean(level[len(level)/2:], row.of), slope(level, row.of))
	}
	return text.String()
}
