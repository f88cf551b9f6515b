package main

import (
	"context"
	goruntime "runtime"
	"runtime/metrics"
	"time"
)

const mib = 1 << 20

// marked is the heap that the last garbage collection found reachable, in MiB.
// It is what a program holds; how far the heap grows beyond it before the next
// collection is GOGC's.
func marked() float64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return float64(s[0].Value.Uint64()) / mib
}

// live is the heap that is reachable, in MiB. It collects garbage.
func live() float64 {
	goruntime.GC()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / mib
}

// watchPeak samples the marked heap until stop is called, which returns the most
// that was seen.
func watchPeak(ctx context.Context) (stop func() float64) {
	ctx, cancel := context.WithCancel(ctx)
	peak := make(chan float64, 1)
	go func() {
		most := marked()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				most = max(most, marked())
			case <-ctx.Done():
				peak <- most
				return
			}
		}
	}()
	return func() float64 {
		cancel()
		return <-peak
	}
}
