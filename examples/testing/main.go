// Testing shows how a handler is tested: main_test.go runs it on the embedded
// broker, in a testing/synctest bubble where waiting takes no time. Run it with
//
//	go test ./examples/testing
//
// The program itself checks one stock with the same handler, and prints
//
//	reorder 12 screws
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/runtime"
)

// stock is the body of a message.
type stock struct {
	Item string `json:"item"`
	Left int    `json:"left"`
}

// wanted is how much of everything there should be.
const wanted = 20

// newHandler returns the handler. order is the dependency that tests replace.
func newHandler(order func(ctx context.Context, n int, item string) error) runtime.Handler {
	return runtime.JSON(func(ctx context.Context, s stock, _ *broker.Delivery) error {
		switch {
		case s.Left < 0:
			return failure.Data(errors.New("there cannot be less than nothing"))
		case s.Left >= wanted:
			return nil
		}
		return failure.Dependency(order(ctx, wanted-s.Left, s.Item))
	})
}

func main() {
	handler := newHandler(func(_ context.Context, n int, item string) error {
		fmt.Printf("reorder %d %s\n", n, item)
		return nil
	})
	d := &broker.Delivery{Message: &broker.Message{Body: []byte(`{"item":"screws","left":8}`)}}
	if err := handler(context.Background(), d); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
