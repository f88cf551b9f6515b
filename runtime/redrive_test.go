package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

// A dead letter that is sent back and fails the same way returns to the dead
// letters after its budget, once, and is recognised by its fingerprint: nothing
// sends it back again by itself.
func TestRedrivenMessageThatFailsTheSameWayReturnsOnceAndIsRecognised(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		runs := 0
		w.run(func(context.Context, *broker.Delivery) error {
			runs++
			return failure.Data(fmt.Errorf("order %d is cancelled", runs))
		}, runtime.Options{})
		w.publish(body("a"))
		settleDown(time.Minute)
		_, dead := w.left()
		first := dead[0].Failure.Fingerprint

		sub, err := w.broker.Subscribe(w.queue+".dlq", memory.SubscribeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ds, err := sub.Receive(t.Context(), broker.Credit{Messages: 1, Bytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		w.publish(*ds[0].Message)
		if err := sub.Settle(t.Context(), []broker.Settlement{{Delivery: &ds[0], Action: broker.Ack}}); err != nil {
			t.Fatal(err)
		}
		settleDown(24 * time.Hour)
		_, dead = w.left()
		if runs != 2 || len(dead) != 1 || dead[0].Failure.Fingerprint != first || dead[0].Message.ID != ds[0].ID {
			t.Errorf("%d runs, dead letters %+v", runs, dead)
		}
	})
}

// A consumer of a dead-letter queue would send what fails nowhere: it is refused.
func TestConsumerWithoutADeadLetterQueueIsRefused(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		sub, err := w.broker.Subscribe(w.queue+".dlq", memory.SubscribeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = runtime.New(sub, func(context.Context, *broker.Delivery) error { return nil }, runtime.Options{})
		if !errors.Is(err, broker.ErrInvalid) {
			t.Errorf("got %v", err)
		}
	})
}
