package main

import (
	"context"
	"time"

	"github.com/anyqueue/anyqueue/bench"
)

type settings struct {
	cases    []bench.Case
	rounds   int
	per      time.Duration // of one run
	heap     int           // MiB
	backlog  int           // messages that are drained from RabbitMQ
	progress func(format string, args ...any)
}

// results is everything that was measured.
type results struct {
	settings
	cases []caseResult
	// backlog and small are the cases of concurrency 16 and 100 B again: with a
	// large window, and with no heap held.
	backlog, small []caseResult
	tracingOff     series
	// shares is where the CPU time of the profiled case goes.
	profiled bench.Case
	shares   []share
	took     time.Duration
}

// caseResult is one case: a series for each contender, index by index of the
// same rounds.
type caseResult struct {
	bench.Case
	batches bench.Batches
	names   []string
	series  map[string]series
}

// series are the samples of one contender, one per round.
type series []bench.Sample

func (r *results) of(c bench.Case) *caseResult {
	for i := range r.cases {
		if r.cases[i].Case == c {
			return &r.cases[i]
		}
	}
	return nil
}

// collect measures all cases, and the small-heap cases again.
func collect(ctx context.Context, s settings) (*results, error) {
	r := &results{settings: s}
	release := bench.HoldHeap(s.heap)
	var err error
	if r.cases, err = collectCases(ctx, s, s.cases); err != nil {
		return nil, err
	}
	for range s.rounds {
		sample, err := bench.MeasureTracingOff(ctx, max(1000, int(s.per/(100*time.Nanosecond))))
		if err != nil {
			return nil, err
		}
		r.tracingOff = append(r.tracingOff, sample)
	}
	again, backlog := special(s.cases)
	r.profiled = bench.NewCase(true, 16, 100)
	if r.shares, err = profileCase(ctx, s, r.profiled); err != nil {
		return nil, err
	}
	if r.backlog, err = collectCases(ctx, s, backlog); err != nil {
		return nil, err
	}
	release()
	r.small, err = collectCases(ctx, s, again)
	return r, err
}

// special picks the cases that are measured again, and makes those with a
// backlog of them.
func special(cases []bench.Case) (again, backlog []bench.Case) {
	for _, c := range cases {
		if c.Concurrency == 16 && c.Body == 100 {
			again = append(again, c)
			c.Window = bench.Backlog
			backlog = append(backlog, c)
		}
	}
	return again, backlog
}

// collectCases measures cases that differ only in their order together, so that
// what has no order by key can be compared with what has.
func collectCases(ctx context.Context, s settings, cases []bench.Case) ([]caseResult, error) {
	type group struct{ concurrency, body int }
	var groups []group
	byGroup := make(map[group][]*caseResult)
	collected := make([]caseResult, len(cases))
	for i, c := range cases {
		g := group{c.Concurrency, c.Body}
		if byGroup[g] == nil {
			groups = append(groups, g)
		}
		collected[i] = caseResult{Case: c, series: make(map[string]series)}
		byGroup[g] = append(byGroup[g], &collected[i])
	}
	for i, g := range groups {
		s.progress("%d of %d: concurrency %d, %d B\n", i+1, len(groups), g.concurrency, g.body)
		if err := interleave(ctx, s, byGroup[g]); err != nil {
			return nil, err
		}
	}
	return collected, nil
}

// A runner is one contender in one case, with how many messages a run has.
type runner struct {
	bench.Contender
	into *caseResult
	n    int
}

// interleave runs all contenders of the cases in turn, round after round, each
// round beginning with another one.
func interleave(ctx context.Context, s settings, cases []*caseResult) error {
	var runners []runner
	for _, cr := range cases {
		var err error
		if cr.batches, err = bench.RuntimeBatches(ctx, cr.Case, messages(s.per, 2000)); err != nil {
			return err
		}
		for _, ct := range bench.Contenders(cr.Case, cr.batches) {
			trial, err := ct.Measure(ctx, cr.Case, messages(s.per/5, 10_000))
			if err != nil {
				return err
			}
			cr.names = append(cr.names, ct.Name)
			runners = append(runners, runner{ct, cr, messages(s.per, trial.WallNS())})
		}
	}
	for round := range s.rounds {
		for i := range runners {
			r := runners[(i+round)%len(runners)]
			sample, err := r.Measure(ctx, r.into.Case, r.n)
			if err != nil {
				return err
			}
			r.into.series[r.Name] = append(r.into.series[r.Name], sample)
		}
	}
	return nil
}

// messages is how many messages of ns nanoseconds each fill the time.
func messages(per time.Duration, ns float64) int {
	return min(max(1000, int(float64(per)/ns)), 2_000_000)
}
