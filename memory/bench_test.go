package memory

import (
	"fmt"
	"testing"

	"github.com/anyqueue/anyqueue/broker"
)

// BenchmarkRoundTrip publishes, receives and acknowledges in batches; ns/op and
// allocations are those of one message.
func BenchmarkRoundTrip(b *testing.B) {
	for _, bench := range []struct {
		name        string
		batch, keys int
	}{{"batch=1", 1, 0}, {"batch=10", 10, 0}, {"batch=100", 100, 0}, {"batch=100/keys=1000", 100, 1000}} {
		b.Run(bench.name, func(b *testing.B) {
			br := New(Options{})
			defer br.Close()
			if err := br.Declare(Queue{Name: "q"}); err != nil {
				b.Fatal(err)
			}
			s, err := br.Subscribe("q", SubscribeOptions{})
			if err != nil {
				b.Fatal(err)
			}
			p, ctx := br.Publisher(), b.Context()
			body := make([]byte, 100)
			messages := make([]*broker.Message, bench.batch)
			for i := range messages {
				messages[i] = &broker.Message{Body: body, ID: fmt.Sprint("message ", i)}
			}
			settlements := make([]broker.Settlement, 0, bench.batch)
			b.ReportAllocs()
			n := 0
			for range (b.N + bench.batch - 1) / bench.batch {
				for _, m := range messages {
					if bench.keys > 0 {
						m.Key = messages[n%len(messages)].ID
						n += 7
					}
				}
				if err := p.Publish(ctx, "q", messages...); err != nil {
					b.Fatal(err)
				}
				for left := bench.batch; left > 0; {
					ds, err := s.Receive(ctx, broker.Credit{Messages: bench.batch, Bytes: 1 << 20})
					if err != nil {
						b.Fatal(err)
					}
					settlements = settlements[:0]
					for i := range ds {
						settlements = append(settlements, broker.Settlement{Delivery: &ds[i], Action: broker.Ack})
					}
					if err := s.Settle(ctx, settlements); err != nil {
						b.Fatal(err)
					}
					left -= len(ds)
				}
			}
		})
	}
}
