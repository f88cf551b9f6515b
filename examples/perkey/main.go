// Perkey shows order by key: messages of one key run one at a time and in their
// order, different keys run in parallel, and one that fails holds back its own key
// alone. The second message for Berlin fails at first. It prints
//
//	Berlin  1 2(failed) 2 3
//	Madrid  1 2 3
//	Madrid was done before Berlin: true
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	b := memory.New(memory.Options{})
	defer b.Close()
	declared := b.Declare(memory.Queue{Name: "trams"})
	for _, body := range []string{"1", "2", "3"} {
		berlin := &broker.Message{Key: "Berlin", Body: []byte(body)}
		madrid := &broker.Message{Key: "Madrid", Body: []byte(body)}
		declared = errors.Join(declared, b.Publisher().Publish(ctx, "trams", berlin, madrid))
	}
	subscription, err := b.Subscribe("trams", memory.SubscribeOptions{})
	if err := errors.Join(declared, err); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()

	var mu sync.Mutex
	seen, last := map[string][]string{}, ""
	consumer, err := runtime.New(subscription, func(_ context.Context, d *broker.Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		if d.Key == "Berlin" && string(d.Body) == "2" && d.Attempt == 1 {
			seen[d.Key] = append(seen[d.Key], "2(failed)")
			return errors.New("signal failure at Alexanderplatz")
		}
		seen[d.Key], last = append(seen[d.Key], string(d.Body)), d.Key
		return nil
	}, runtime.Options{Ordering: runtime.OrderKey})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- consumer.Run(ctx) }()
	err = b.Drained(ctx, "trams")
	stop()
	err = errors.Join(err, <-ended)
	for _, city := range []string{"Berlin", "Madrid"} {
		fmt.Println(city, "", strings.Join(seen[city], " "))
	}
	fmt.Println("Madrid was done before Berlin:", last == "Berlin")
	return err
}
