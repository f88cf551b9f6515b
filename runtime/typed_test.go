package runtime_test

import (
	"context"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

// What does not decode is dead-lettered whole, at once, and never reaches the
// handler; what decodes does.
func TestUndecodableMessagesAreDeadLetteredWholeAndNeverLoop(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		type order struct{ ID int }
		var seen record
		x := w.run(runtime.JSON(func(_ context.Context, o order, _ *broker.Delivery) error {
			seen.add("%d", o.ID)
			return nil
		}), runtime.Options{Concurrency: 1})
		odd := broker.Headers{{Name: "odd\x00\xff", Value: "\xfe\x00\n"}, {Name: "", Value: ""}}
		bad := []string{"", "{", `{"ID": "x"}`, "\xff\xfe\x00", `[]`}
		for _, s := range bad {
			w.publish(broker.Message{Body: []byte(s), Headers: odd})
		}
		w.publish(body(`{"ID": 7, "unknown": true}`))
		settleDown(time.Hour)
		if got := seen.all(); !equal(got, []string{"7"}) {
			t.Errorf("handled %v", got)
		}
		x.wantLedger(runtime.Ledger{Acked: 1, DeadLettered: int64(len(bad))})
		_, dead := w.left()
		for i, s := range dead {
			if string(s.Message.Body) != bad[i] || s.Failure.Class != failure.ClassFormat ||
				len(s.Message.Headers) != 2 || s.Message.Headers[0] != odd[0] {
				t.Errorf("dead letter %d: %q %v %s", i, s.Message.Body, s.Message.Headers, s.Failure.Class)
			}
		}
	})
}
