package memory

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

var sessions = SubscribeOptions{SessionLeases: true}

// With SessionLeases what a consumer holds is visible again as soon as its
// connection drops or it is closed, with one more abandoned; its session says
// why it ended.
func TestSessionLeasesEndWithTheSession(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(b *bench)
		want error
	}{
		"close":             {func(b *bench) { _ = b.s.Close(b.Context()) }, broker.ErrClosed},
		"disconnect":        {func(b *bench) { b.s.Disconnect() }, broker.ErrDisconnected},
		"broker disconnect": {func(b *bench) { b.Broker.Disconnect(); b.Broker.Reconnect() }, broker.ErrDisconnected},
		"broker close":      {func(b *bench) { b.Broker.Close() }, broker.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			inBubbleWith(t, Queue{}, sessions, func(b *bench) {
				other := b.subscribe("q", SubscribeOptions{})
				b.publish("a", "others")
				a := b.one(b.s)
				b.one(other)
				if a.Session == nil || a.Session.Cause() != nil {
					b.Fatalf("session is %v", a.Session)
				}
				c.end(b)
				<-a.Session.Lost()
				b.wantIs(a.Session.Cause(), c.want)
				if name == "broker close" {
					return
				}
				b.wantStats("q", 1, 1, 0, 0)
				d := b.one(other)
				if string(d.Body) != "a" || d.Abandoned != 1 {
					b.Fatalf("received %q with Abandoned %d, want a with 1", d.Body, d.Abandoned)
				}
			})
		})
	}
}

// While disconnected every call fails with ErrDisconnected, a Receive that waits
// included; after Reconnect there is a new session, and old deliveries are lost.
func TestDisconnectedCallsFailUntilReconnect(t *testing.T) {
	inBubbleWith(t, Queue{}, sessions, func(b *bench) {
		b.publish("a")
		a := b.one(b.s)
		errs := make(chan error)
		go func() {
			_, err := b.s.Receive(b.Context(), broker.Credit{Messages: 1, Bytes: 1})
			errs <- err
		}()
		synctest.Wait()
		b.s.Disconnect()
		b.wantIs(<-errs, broker.ErrDisconnected)
		_, err := b.s.Receive(b.Context(), broker.Credit{Messages: 1, Bytes: 1})
		b.wantIs(err, broker.ErrDisconnected)
		ack := broker.Settlement{Delivery: a, Action: broker.Ack}
		b.wantIs(b.s.Settle(b.Context(), []broker.Settlement{ack}), broker.ErrDisconnected)
		b.wantIs(b.s.Extend(b.Context(), []*broker.Delivery{a}, time.Minute), broker.ErrDisconnected)
		_, err = b.s.Stats(b.Context())
		b.wantIs(err, broker.ErrDisconnected)
		b.publish("b") // publishers have connections of their own

		b.s.Reconnect()
		b.wantIs(b.settleErr(b.s, ack), broker.ErrLeaseLost)
		ds := b.wantReceived(b.s, "a", "b")
		if ds[0].Session == a.Session || ds[0].Session.Cause() != nil {
			b.Fatal("the old session lives on")
		}
		b.ack(b.s, ds...)
	})
}

// A connection that breaks and comes back at once is noticed by the Receive that
// was waiting on it.
func TestReceiveNoticesAConnectionThatBrokeForAMoment(t *testing.T) {
	for _, o := range []SubscribeOptions{{}, sessions} {
		inBubbleWith(t, Queue{}, o, func(b *bench) {
			errs := make(chan error)
			go func() {
				_, err := b.s.Receive(b.Context(), broker.Credit{Messages: 1, Bytes: 1})
				errs <- err
			}()
			synctest.Wait()
			b.s.Disconnect()
			b.s.Reconnect()
			b.wantIs(<-errs, broker.ErrDisconnected)
		})
	}
}

// When the broker is down publishers fail too. What is stored survives, and a
// subscription that was disconnected on its own stays so.
func TestBrokerThatIsDownFailsEverybodyAndLosesNothing(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		apart := b.subscribe("q", sessions)
		apart.Disconnect()
		b.publish("a")
		a := b.one(b.s)
		b.Broker.Disconnect()
		b.wantIs(b.p.Publish(b.Context(), "q", &broker.Message{}), broker.ErrDisconnected)
		_, err := b.s.Receive(b.Context(), broker.Credit{Messages: 1, Bytes: 1})
		b.wantIs(err, broker.ErrDisconnected)
		late := b.subscribe("q", sessions)
		_, err = late.Receive(b.Context(), broker.Credit{Messages: 1, Bytes: 1})
		b.wantIs(err, broker.ErrDisconnected)

		b.Broker.Reconnect()
		b.ack(b.s, *a) // its lease lives on no session
		b.publish("b")
		if d := b.one(late); d.Session == nil {
			b.Fatal("no session after Reconnect")
		}
		_, err = apart.Receive(b.Context(), broker.Credit{Messages: 1, Bytes: 1})
		b.wantIs(err, broker.ErrDisconnected)
	})
}

// A delivery that lives on a session is settled by its own subscription only.
func TestSessionLeaseIsSettledByItsOwnerOnly(t *testing.T) {
	inBubbleWith(t, Queue{}, sessions, func(b *bench) {
		other := b.subscribe("q", sessions)
		b.publish("a")
		a := b.one(b.s)
		b.wantIs(b.settleErr(other, broker.Settlement{Delivery: a, Action: broker.Ack}), broker.ErrLeaseLost)
		b.ack(b.s, *a)
	})
}
