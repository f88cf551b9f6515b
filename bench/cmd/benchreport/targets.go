package main

import (
	"fmt"

	"github.com/anyqueue/anyqueue/bench"
)

// What the runtime promises, per message.
const (
	mostAddedCPU     = 1000 // ns
	mostAddedAllocs  = 2
	mostMetricsCPU   = 600  // ns
	mostMetricAllocs = 0.05 // none, but for what happens once in a while
	mostTracingOff   = 30   // ns
	leastWatermill   = 5    // times
	leastWatermill4  = 10   // times
)

// targets compares the promises with what was measured, both bodies at
// concurrency 16.
func targets(r *results) [][]string {
	var rows [][]string
	row := func(what, measured, target string, met bool) {
		verdict := "met"
		if !met {
			verdict = "**missed**"
		}
		rows = append(rows, []string{what, measured, target, verdict})
	}
	for _, body := range []int{100, 1024} {
		keyed, unkeyed := r.of(bench.NewCase(true, 16, body)), r.of(bench.NewCase(false, 16, body))
		if keyed == nil || unkeyed == nil {
			continue
		}
		full := keyed.series[bench.NameFull]
		where := fmt.Sprintf("order by key, %d B: ", body)

		d := full.pairs(keyed.series[bench.NameMemory], cpu, minus)
		row(where+"CPU ns added to the broker", d.ns(), fmt.Sprintf("at most %d", mostAddedCPU), d.median <= mostAddedCPU)
		d = full.pairs(keyed.series[bench.NameMemory], allocs, minus)
		row(where+"allocations added", fmt.Sprintf("%.2f", d.median), fmt.Sprintf("at most %d", mostAddedAllocs), d.median <= mostAddedAllocs)
		d = full.pairs(keyed.series[bench.NameNoMetrics], cpu, minus)
		row(where+"CPU ns of metrics", d.ns(), fmt.Sprintf("at most %d", mostMetricsCPU), d.median <= mostMetricsCPU)
		d = full.pairs(keyed.series[bench.NameNoMetrics], allocs, minus)
		row(where+"allocations of metrics", fmt.Sprintf("%.2f", d.median), "0", d.median <= mostMetricAllocs)

		for _, peer := range []struct {
			name  string
			least float64
		}{{bench.NameWatermill, leastWatermill}, {bench.NameWatermillFor, leastWatermill4}} {
			s := unkeyed.series[peer.name]
			for _, of := range []struct {
				order  string
				series series
			}{{"order by key", full}, {"no order", unkeyed.series[bench.NameFull]}} {
				x := s.pairs(of.series, wall, over)
				row(fmt.Sprintf("%s, %d B: times as fast as %s", of.order, body, peer.name),
					x.times(), fmt.Sprintf("at least %.0fx", peer.least), x.median >= peer.least)
			}
		}
	}
	off := r.tracingOff.each(wall)
	row("ns of tracing that is off", off.ns(), fmt.Sprintf("at most %d", mostTracingOff), off.median <= mostTracingOff)
	return rows
}
