package rabbit

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/internal/faultlab"
)

// An acknowledgement that comes after a reconnect acknowledges nothing: its tag now
// belongs to another message, which a client that sends it all the same would lose.
func TestLateAcknowledgementAfterAReconnectAcknowledgesNothing(t *testing.T) {
	t.Parallel()
	server := faultlab.Need(t, lines["3"])
	proxy, queue := newProxy(t, server), unique("late")
	s := Settings{URL: through(t, server, proxy), Prefetch: 1, Logger: quiet}
	in := broker.Intent{MaxAttempts: 3}
	makeQueues(t, server, s, queue, in)
	end := openNow(t, s, queue, in)
	publishNow(t, end, queue, "first")
	first := receiveNow(t, end)

	// While the consumer is away somebody else does the first, so that the new channel
	// begins with another message under the same tag.
	if err := proxy.Refuse(true); err != nil {
		t.Fatal(err)
	}
	proxy.Cut()
	<-first.Session.Lost()
	direct := s
	direct.URL = broker.NewSecret(server)
	other := openNow(t, direct, queue, in)
	taken := receiveNow(t, other)
	if string(taken.Body) != "first" {
		t.Fatalf("received %q", taken.Body)
	}
	if err := settleNow(t, other, broker.Ack, &taken); err != nil {
		t.Fatal(err)
	}
	if err := other.Subscription.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	publishNow(t, other, queue, "second")
	if err := proxy.Refuse(false); err != nil {
		t.Fatal(err)
	}
	second := receiveNow(t, end)
	if string(second.Body) != "second" || second.Tag != first.Tag || second.Session == first.Session {
		t.Fatalf("the new session began with %q under tag %d, the old with tag %d", second.Body, second.Tag, first.Tag)
	}
	for _, action := range []broker.Action{broker.Ack, broker.Retry, broker.DeadLetter, broker.Release} {
		if err := settleNow(t, end, action, &first); !errors.Is(err, broker.ErrLeaseLost) {
			t.Errorf("a late %s returned %v", action, err)
		}
	}
	// The second is unacknowledged still: it comes again.
	proxy.Cut()
	<-second.Session.Lost()
	again := receiveNow(t, end)
	if string(again.Body) != "second" || again.Abandoned != 1 {
		t.Errorf("got %q, abandoned %d times", again.Body, again.Abandoned)
	}
	if err := settleNow(t, end, broker.Ack, &again); err != nil {
		t.Error(err)
	}
}

// openNow opens a queue and closes what it has opened at the end of the test.
func openNow(t *testing.T, s Settings, queue string, in broker.Intent) *broker.Endpoint {
	t.Helper()
	end, err := Open(t.Context(), s, queue, in)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := errors.Join(end.Subscription.Close(ctx), end.Publisher.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	return end
}

func publishNow(t *testing.T, end *broker.Endpoint, queue, body string) {
	t.Helper()
	if err := end.Publisher.Publish(t.Context(), queue, &broker.Message{Body: []byte(body)}); err != nil {
		t.Fatal(err)
	}
}

// receiveNow receives one message, whatever becomes of the connection meanwhile.
func receiveNow(t *testing.T, end *broker.Endpoint) broker.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	for {
		got, err := end.Subscription.Receive(ctx, broker.Credit{Messages: 1, Bytes: 1 << 20})
		if err == nil {
			return got[0]
		}
		if ctx.Err() != nil || broker.FinalReceive(err) {
			t.Fatal(err)
		}
		pause(ctx, 20*time.Millisecond)
	}
}

func settleNow(t *testing.T, end *broker.Endpoint, action broker.Action, d *broker.Delivery) error {
	t.Helper()
	return end.Subscription.Settle(t.Context(), []broker.Settlement{{Delivery: d, Action: action}})
}
