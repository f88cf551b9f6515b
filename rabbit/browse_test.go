package rabbit

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/internal/faultlab"
)

// Who goes through the dead letters and keeps what he has seen sees all of them, not
// only as many as are read ahead; given back they are all there again, though not in
// their order: the server hands out anew what comes back while others still go back.
func TestAllDeadLettersCanBeSeenAtOnce(t *testing.T) {
	server := faultlab.Need(t, "ANYQUEUE_RABBITMQ_URL")
	name, intent := unique("browse"), broker.Intent{MaxAttempts: 3}
	settings := Settings{URL: broker.NewSecret(server), Logger: slog.New(slog.DiscardHandler)}
	makeQueues(t, server, settings, name, intent)
	end, err := Open(t.Context(), settings, name, intent)
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, end.Subscription.Close)
	defer closeNow(t, end.Publisher.Close)
	const letters = 320
	messages := make([]*broker.Message, letters)
	for i := range messages {
		messages[i] = &broker.Message{ID: fmt.Sprint(i)}
	}
	if err := end.Publisher.Publish(t.Context(), end.DeadLetter, messages...); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		dead, err := end.OpenDeadLetters(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var back []broker.Settlement
		seen := map[string]bool{}
		for len(back) < letters {
			ds, err := dead.Receive(t.Context(), broker.Credit{Messages: letters, Bytes: 1 << 20})
			if err != nil {
				t.Fatalf("round %d, after %d of %d: %v", round, len(back), letters, err)
			}
			for i := range ds {
				if seen[ds[i].ID] {
					t.Fatalf("round %d: message %s comes twice", round, ds[i].ID)
				}
				seen[ds[i].ID] = true
				back = append(back, broker.Settlement{Delivery: &ds[i], Action: broker.Release})
			}
		}
		if err := dead.Settle(t.Context(), back); err != nil {
			t.Fatal(err)
		}
		closeNow(t, dead.Close)
	}
}
