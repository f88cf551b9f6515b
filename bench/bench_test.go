package bench

import "testing"

// BenchmarkEndToEnd is every contender in every case, one message per iteration.
// A pipeline has no single iteration to put into b.Loop: all b.N messages are in
// one run.
func BenchmarkEndToEnd(b *testing.B) {
	for _, c := range Cases() {
		for _, ct := range Contenders(c, Batches{Receive: 16, Settle: 16}) {
			b.Run(c.String()+"/"+ct.Name, func(b *testing.B) {
				b.ReportAllocs()
				s, err := ct.Measure(b.Context(), c, b.N)
				if err != nil {
					b.Fatal(err)
				}
				// In place of the harness's own figures, which would count the start
				// and the stop of the pipe.
				b.ReportMetric(s.WallNS(), "ns/op")
				b.ReportMetric(s.CPUNS(), "cpu-ns/op")
				b.ReportMetric(s.AllocsPer(), "allocs/op")
				b.ReportMetric(s.BytesPer(), "B/op")
			})
		}
	}
}
