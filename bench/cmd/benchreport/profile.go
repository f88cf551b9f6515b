package main

import (
	"bytes"
	"cmp"
	"context"
	"path"
	"runtime/pprof"
	"slices"
	"strings"

	"github.com/google/pprof/profile"

	"github.com/anyqueue/anyqueue/bench"
)

// share is a part of the CPU time of one case.
type share struct {
	part string
	ns   float64 // per message
	of   float64 // of the whole, 0 to 1
}

// profileCase runs anyqueue with everything on and says where the time goes. A
// profile samples a hundred times a second, so the run is long.
func profileCase(ctx context.Context, s settings, c bench.Case) ([]share, error) {
	for _, ct := range bench.Contenders(c, bench.Batches{}) {
		if ct.Name != bench.NameFull {
			continue
		}
		var raw bytes.Buffer
		if err := pprof.StartCPUProfile(&raw); err != nil {
			return nil, err
		}
		sample, err := ct.Measure(ctx, c, messages(20*s.per, 2000))
		pprof.StopCPUProfile()
		if err != nil {
			return nil, err
		}
		p, err := profile.Parse(&raw)
		if err != nil {
			return nil, err
		}
		return shares(p, sample.CPUNS()), nil
	}
	return nil, nil
}

// shares divides ns nanoseconds among the parts of the program, most first.
func shares(p *profile.Profile, ns float64) []share {
	total := 0.0
	weight := make(map[string]float64)
	for _, s := range p.Sample {
		w := float64(s.Value[len(s.Value)-1])
		weight[partOf(s)] += w
		total += w
	}
	parts := make([]share, 0, len(weight))
	for part, w := range weight {
		parts = append(parts, share{part, ns * w / total, w / total})
	}
	slices.SortFunc(parts, func(a, b share) int {
		return cmp.Or(cmp.Compare(b.ns, a.ns), cmp.Compare(a.part, b.part))
	})
	return parts
}

const anyqueue = "github.com/anyqueue/anyqueue/"

// partOf names the part of the program that a sample was taken in: the innermost
// function of ours or of a library, with what it called in the Go runtime; but
// garbage collection and the scheduler by themselves.
func partOf(s *profile.Sample) string {
	part := "Go runtime: other"
	for _, location := range s.Location { // innermost first
		for _, line := range location.Line {
			name, file := line.Function.Name, path.Base(line.Function.Filename)
			switch {
			case strings.HasPrefix(name, "runtime.gcBgMarkWorker"), strings.HasPrefix(name, "runtime.gcAssist"),
				strings.HasPrefix(name, "runtime.bgsweep"), strings.HasPrefix(name, "runtime.bgscavenge"):
				return "garbage collection"
			case part != "Go runtime: other":
				// Known already; only garbage collection further out would change it.
			case strings.HasPrefix(name, "runtime.mcall"), strings.HasPrefix(name, "runtime.park_m"),
				strings.HasPrefix(name, "runtime.schedule"), strings.HasPrefix(name, "runtime.mstart"):
				part = "Go runtime: scheduler"
			case strings.HasPrefix(name, anyqueue+"bench"):
				part = "the benchmark"
			case strings.HasPrefix(name, anyqueue):
				pkg, _, _ := strings.Cut(strings.TrimPrefix(name, anyqueue), ".")
				part = pkg + "/" + file
			case strings.HasPrefix(name, "go.opentelemetry.io/"):
				part = "OpenTelemetry SDK"
			}
		}
	}
	return part
}
