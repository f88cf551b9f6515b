// Perkey shows order by key: messages of one key run in their order, different
// keys run in parallel, and one that fails (Berlin's second) holds back its own key
// alone. It prints
//
//	Berlin: 1 2(failed) 2 3
//	Madrid: 1 2 3
//	the last one was for Berlin
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

func main() {
	ctx, stop := context.WithCancel(context.Background())
	b := memory.New(memory.Options{})
	check(b.Declare(memory.Queue{Name: "trams"}))
	for _, body := range []string{"1", "2", "3"} {
		check(b.Publisher().Publish(ctx, "trams",
			&broker.Message{Key: "Berlin", Body: []byte(body)}, &broker.Message{Key: "Madrid", Body: []byte(body)}))
	}
	subscription, err := b.Subscribe("trams", memory.SubscribeOptions{})
	check(err)
	var mu sync.Mutex // handlers of different keys run at the same time
	seen, last, done := map[string]string{}, "", 0
	handler := func(_ context.Context, d *broker.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		seen[d.Key] += " " + string(d.Body)
		if d.Key == "Berlin" && string(d.Body) == "2" && d.Attempt == 1 {
			seen[d.Key] += "(failed)"
			return errors.New("signal failure at Alexanderplatz")
		}
		if last, done = d.Key, done+1; done == 6 {
			stop()
		}
		return nil
	}
	options := runtime.Options{Ordering: runtime.OrderKey}
	options.Retry.Backoff.Jitter = -1 // wait for 200 ms, not for up to 200 ms
	consumer, err := runtime.New(subscription, handler, options)
	check(err)
	check(consumer.Run(ctx))
	fmt.Printf("Berlin:%s\nMadrid:%s\nthe last one was for %s\n", seen["Berlin"], seen["Madrid"], last)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
