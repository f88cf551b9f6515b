package rabbitmq

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/bench"
)

// open returns a server, or skips.
func open(tb testing.TB) *Server {
	tb.Helper()
	url := os.Getenv(Variable)
	if url == "" {
		if os.Getenv("CI") == "true" {
			tb.Fatal(NoServer)
		}
		tb.Skip(NoServer)
	}
	s, err := OpenServer(tb.Context(), url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// BenchmarkConsume is every consumer in every case, one message per iteration.
func BenchmarkConsume(b *testing.B) {
	s := open(b)
	for _, in := range Cases() {
		for _, c := range Consumers() {
			b.Run(in.String()+"/"+c.Name, func(b *testing.B) {
				sample, err := c.Measure(b.Context(), s, in, max(b.N, 100))
				if errors.Is(err, ErrTooShort) {
					b.Skip(err)
				}
				if err != nil {
					b.Fatal(errors.Join(err, s.Purge()))
				}
				report(b, sample)
			})
		}
	}
}

// report replaces the harness's own figures, which would count the filling of
// the queue.
func report(b *testing.B, s bench.Sample) {
	b.ReportAllocs()
	b.ReportMetric(s.WallNS(), "ns/op")
	b.ReportMetric(s.CPUNS(), "cpu-ns/op")
	b.ReportMetric(s.AllocsPer(), "allocs/op")
	b.ReportMetric(s.BytesPer(), "B/op")
}

// BenchmarkPublish is every publisher in every case, for a moment each.
func BenchmarkPublish(b *testing.B) {
	s := open(b)
	for _, c := range PublishCases() {
		for _, p := range Publishers() {
			b.Run(c.String()+"/"+p.Name, func(b *testing.B) {
				sample, err := p.Measure(b.Context(), s, c, time.Duration(b.N)*time.Millisecond)
				if err != nil {
					b.Fatal(err)
				}
				report(b, sample)
			})
		}
	}
}
