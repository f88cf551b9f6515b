package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

// A supplier that is down is asked again until it is up; what cannot be right is
// dead-lettered at once. All the waiting takes no time in the bubble.
func TestHandlerOnTheEmbeddedBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New(memory.Options{})
		defer b.Close()
		check := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		check(b.Declare(memory.Queue{Name: "stock"}))
		subscription, err := b.Subscribe("stock", memory.SubscribeOptions{})
		check(err)

		asked, ordered := 0, 0
		consumer, err := runtime.New(subscription, newHandler(func(_ context.Context, n int, _ string) error {
			if asked++; asked < 3 {
				return errors.New("supplier is closed")
			}
			ordered += n
			return nil
		}), runtime.Options{})
		check(err)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- consumer.Run(ctx) }()

		check(b.Publisher().Publish(ctx, "stock",
			&broker.Message{Body: []byte(`{"item":"nuts","left":5}`)}, &broker.Message{Body: []byte(`{"item":"bolts","left":-1}`)}))
		check(b.Drained(ctx, "stock")) // every message is acknowledged or dead-lettered
		stop()
		check(<-ended)

		if asked != 3 || ordered != 15 {
			t.Errorf("asked %d times and ordered %d, want 3 and 15", asked, ordered)
		}
		dead, err := b.Messages("stock.dlq")
		check(err)
		if len(dead) != 1 || string(dead[0].Body) != `{"item":"bolts","left":-1}` || dead[0].Failure.Class != "data" {
			t.Errorf("dead letters: %+v", dead)
		}
	})
}
