package rabbit

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/internal/faultlab"
)

// Whatever is opened can be closed at any moment, also while its connection is cut,
// while somebody receives or publishes, and by a context that has ended: no
// goroutine and no connection stays.
func TestClosingAtAnyMomentLeavesNothingBehind(t *testing.T) {
	before := goleak.IgnoreCurrent() // parallel tests wait until this one is over
	server := faultlab.Need(t, lines["3"])
	proxy, queue := newProxy(t, server), unique("stress")
	s := Settings{URL: through(t, server, proxy), ConnectTimeout: 10 * time.Second, Logger: quiet}
	in := broker.Intent{MaxAttempts: 2}
	makeQueues(t, server, s, queue, in)
	for round := range 30 {
		end, err := Open(t.Context(), s, queue, in)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		using, stop := context.WithCancel(t.Context())
		var users sync.WaitGroup
		users.Go(func() {
			for using.Err() == nil {
				if _, err := end.Subscription.Receive(using, broker.Credit{Messages: 10, Bytes: 1 << 20}); err != nil && broker.FinalReceive(err) {
					return
				}
			}
		})
		for range 2 {
			users.Go(func() {
				for using.Err() == nil {
					_ = end.Publisher.Publish(using, queue, &broker.Message{Body: []byte("x")})
				}
			})
		}
		time.Sleep(time.Duration(round) * time.Millisecond)
		if round%3 == 1 {
			proxy.Cut()
		}
		closing, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if round%5 == 4 {
			cancel() // the farewell is not waited for
		}
		began := time.Now()
		errSub := end.Subscription.Close(closing)
		stop()
		errPub := end.Publisher.Close(closing)
		if took := time.Since(began); took > 5*time.Second || round%5 != 4 && (errSub != nil || errPub != nil) {
			t.Errorf("round %d: closed after %s with %v and %v", round, took, errSub, errPub)
		}
		cancel()
		users.Wait()
	}
	for deadline := time.Now().Add(10 * time.Second); proxy.Connections() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are left", proxy.Connections())
		}
	}
	if err := proxy.Close(); err != nil {
		t.Error(err)
	}
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}
