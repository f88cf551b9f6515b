package runtime_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

// BenchmarkConsumer is end to end: publish in batches of 100, consume, ack.
func BenchmarkConsumer(b *testing.B) {
	for _, ordering := range []runtime.Ordering{runtime.OrderNone, runtime.OrderKey} {
		for _, concurrency := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("order=%s/concurrency=%d", ordering, concurrency), func(b *testing.B) {
				benchmarkConsumer(b, runtime.Options{Ordering: ordering, Concurrency: concurrency, Logger: quiet})
			})
		}
	}
}

func benchmarkConsumer(b *testing.B, o runtime.Options) {
	br := memory.New(memory.Options{})
	defer br.Close()
	if err := br.Declare(memory.Queue{Name: "q"}); err != nil {
		b.Fatal(err)
	}
	sub, err := br.Subscribe("q", memory.SubscribeOptions{})
	if err != nil {
		b.Fatal(err)
	}
	var handled atomic.Int64
	done := make(chan struct{})
	c, err := runtime.New(sub, func(context.Context, *broker.Delivery) error {
		if handled.Add(1) == int64(b.N) {
			close(done)
		}
		return nil
	}, o)
	if err != nil {
		b.Fatal(err)
	}
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprint("key", i)
	}
	payload := make([]byte, 100)
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	b.ReportAllocs()
	b.ResetTimer()
	go func() { ended <- c.Run(ctx) }()
	pub := br.Publisher()
	batch := make([]*broker.Message, 0, 100)
	for i := range b.N {
		batch = append(batch, &broker.Message{ID: keys[i%len(keys)], Key: keys[i%len(keys)], Body: payload})
		if len(batch) == cap(batch) || i == b.N-1 {
			if err := pub.Publish(ctx, "q", batch...); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	<-done
	b.StopTimer()
	stop()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}
