package memory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// Credit bounds messages and bytes; the first message may exceed the bytes.
func TestReceiveKeepsToItsCredit(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		b.publish("1", strings.Repeat("2", 50), "3", "4", "5") // sizes 2, 100, 2, 2, 2
		for _, c := range []struct {
			credit broker.Credit
			want   int
		}{
			{broker.Credit{Messages: 10, Bytes: 101}, 1},
			{broker.Credit{Messages: 10, Bytes: 1}, 1},
			{broker.Credit{Messages: 10, Bytes: 4}, 2},
			{broker.Credit{Messages: 1, Bytes: 100}, 1},
		} {
			ds, err := b.s.Receive(b.Context(), c.credit)
			if err != nil || len(ds) != c.want {
				b.Fatalf("credit %+v: received %v, %v; want %d", c.credit, bodies(ds), err, c.want)
			}
		}
	})
}

// A credit that nothing fits in is a mistake of the caller.
func TestReceiveRefusesAnEmptyCredit(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		b.publish("a")
		for _, c := range []broker.Credit{{}, {Messages: 1}, {Bytes: 1}, {Messages: -1, Bytes: 1}} {
			_, err := b.s.Receive(b.Context(), c)
			b.wantIs(err, broker.ErrInvalid)
		}
	})
}

// When its context has ended, Receive returns the context's error and leases
// nothing.
func TestReceiveWithAnEndedContextLeasesNothing(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		b.publish("a")
		ctx, cancel := context.WithCancel(b.Context())
		cancel()
		ds, err := b.s.Receive(ctx, broker.Credit{Messages: 1, Bytes: 1})
		if ds != nil {
			b.Fatalf("received %v", bodies(ds))
		}
		b.wantIs(err, context.Canceled)
		b.wantStats("q", 1, 0, 0, 0)
	})
}

// waiting starts n Receives that stand in line in their order, and returns what
// each got: "i:bodies".
func waiting(b *bench, n int, credit broker.Credit) <-chan string {
	got := make(chan string, n)
	for i := range n {
		s := b.subscribe("q", SubscribeOptions{})
		go func() {
			ds, err := s.Receive(b.Context(), credit)
			if err != nil {
				got <- fmt.Sprint(i, ":", err)
				return
			}
			got <- fmt.Sprint(i, ":", strings.Join(bodies(ds), ""))
		}()
		synctest.Wait()
	}
	return got
}

func drain(got <-chan string) []string {
	synctest.Wait()
	var out []string
	for {
		select {
		case s := <-got:
			out = append(out, s)
		default:
			slices.Sort(out)
			return out
		}
	}
}

// Those who wait are served in the order in which they came, one message waking
// one of them.
func TestWaitingReceiversAreServedFirstComeFirstServed(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		got := waiting(b, 3, broker.Credit{Messages: 10, Bytes: 1000})
		for i, body := range []string{"a", "b", "c"} {
			b.publish(body)
			if out, want := drain(got), []string{fmt.Sprint(i, ":", body)}; !slices.Equal(out, want) {
				b.Fatalf("after publishing %q: %q, want %q", body, out, want)
			}
		}
	})
}

// What arrives together is shared evenly between those who wait, so that no
// worker hoards what an idle one could do.
func TestWaitingReceiversShareEvenly(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		got := waiting(b, 3, broker.Credit{Messages: 10, Bytes: 1000})
		if err := b.p.Publish(b.Context(), "q", messages(7)...); err != nil {
			b.Fatal(err)
		}
		if out, want := drain(got), []string{"0:012", "1:34", "2:56"}; !slices.Equal(out, want) {
			b.Fatalf("received %q, want %q", out, want)
		}
	})
}

// A waiter that gives up at the moment in which it is woken passes its turn on.
func TestCancelledReceiverPassesItsTurnOn(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		for i := range 50 {
			ctx, cancel := context.WithCancel(b.Context())
			first := make(chan int, 1)
			go func() {
				ds, _ := b.s.Receive(ctx, broker.Credit{Messages: 1, Bytes: 1})
				b.ack(b.s, ds...)
				first <- len(ds)
			}()
			synctest.Wait()
			second := waiting(b, 1, broker.Credit{Messages: 1, Bytes: 1})

			b.mu.Lock() // so that the first learns of both at once
			cancel()
			q := b.queues["q"]
			q.add(&entry{msg: broker.Message{ID: "a", Body: []byte("a")}, size: 2})
			q.wake()
			b.mu.Unlock()

			synctest.Wait()
			n, out := <-first, drain(second)
			if n+len(out) != 1 {
				b.Fatalf("try %d: the first received %d, the second %q", i, n, out)
			}
			if n == 1 {
				b.publish("b") // the second still waits
				synctest.Wait()
			}
		}
	})
}

// A delay and a lease that end wake a waiter in time, and only one.
func TestWaiterIsWokenWhenADelayOrALeaseEnds(t *testing.T) {
	inBubble(t, Queue{Lease: time.Minute}, func(b *bench) {
		b.publish("delayed", "leased")
		ds := b.receive(b.s, 2)
		b.settle(b.s, broker.Settlement{Delivery: &ds[0], Action: broker.Retry, After: time.Second})
		got := waiting(b, 2, broker.Credit{Messages: 10, Bytes: 1000})
		time.Sleep(time.Second - 1)
		if out := drain(got); out != nil {
			b.Fatalf("too early: %q", out)
		}
		time.Sleep(1)
		if out := drain(got); !slices.Equal(out, []string{"0:delayed"}) {
			b.Fatalf("after the delay: %q", out)
		}
		time.Sleep(59 * time.Second)
		if out := drain(got); !slices.Equal(out, []string{"1:leased"}) {
			b.Fatalf("after the lease: %q", out)
		}
	})
}

// A shorter delay than the one that a waiter waits for is not slept through.
func TestWaiterIsWokenByADelayThatEndsSooner(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		b.publish("late", "soon")
		ds := b.receive(b.s, 2)
		b.settle(b.s, broker.Settlement{Delivery: &ds[0], Action: broker.Retry, After: time.Hour})
		got := waiting(b, 1, broker.Credit{Messages: 10, Bytes: 1000})
		b.settle(b.s, broker.Settlement{Delivery: &ds[1], Action: broker.Retry, After: time.Second})
		time.Sleep(time.Second)
		if out := drain(got); !slices.Equal(out, []string{"0:soon"}) {
			b.Fatalf("received %q", out)
		}
	})
}

// Close of the subscription and of the broker end a Receive that waits, and all
// later calls.
func TestCloseEndsWhatWaits(t *testing.T) {
	for name, closing := range map[string]func(b *bench){
		"subscription": func(b *bench) { _ = b.s.Close(b.Context()) },
		"broker":       func(b *bench) { b.Broker.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Queue{}, func(b *bench) {
				b.publish("held")
				held := b.one(b.s)
				errs := make(chan error)
				go func() {
					_, err := b.s.Receive(b.Context(), broker.Credit{Messages: 1, Bytes: 1})
					errs <- err
				}()
				synctest.Wait()
				closing(b)
				closing(b)
				b.wantIs(<-errs, broker.ErrClosed)
				_, err := b.s.Receive(b.Context(), broker.Credit{Messages: 1, Bytes: 1})
				b.wantIs(err, broker.ErrClosed)
				b.wantIs(b.s.Settle(b.Context(), []broker.Settlement{{Delivery: held, Action: broker.Ack}}), broker.ErrClosed)
				b.wantIs(b.s.Extend(b.Context(), []*broker.Delivery{held}, time.Minute), broker.ErrClosed)
				_, err = b.s.Stats(b.Context())
				b.wantIs(err, broker.ErrClosed)
			})
		})
	}
}

// After the broker was closed nothing can be done with it, and waiting for a
// drained queue ends.
func TestClosedBrokerRefusesEverything(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		b.publish("a")
		drained := make(chan error)
		go func() { drained <- b.Drained(b.Context(), "q") }()
		synctest.Wait()
		b.Broker.Close()
		b.wantIs(<-drained, broker.ErrClosed)
		b.wantIs(b.Declare(Queue{Name: "x"}), broker.ErrClosed)
		b.wantIs(b.p.Publish(b.Context(), "q", &broker.Message{}), broker.ErrClosed)
		b.wantIs(b.Inject("q", Faults{}), broker.ErrClosed)
		_, err := b.Subscribe("q", SubscribeOptions{})
		b.wantIs(err, broker.ErrClosed)
		_, err = b.Messages("q")
		b.wantIs(err, broker.ErrClosed)
	})
}

// Leases belong to the queue: a consumer that goes away keeps its message until
// the lease ends.
func TestLeaseOutlivesItsSubscription(t *testing.T) {
	inBubble(t, Queue{Lease: time.Minute}, func(b *bench) {
		b.publish("a")
		if d := b.one(b.s); d.Session != nil {
			b.Fatalf("delivery lives on session %q", d.Session.Name())
		}
		other := b.subscribe("q", SubscribeOptions{})
		if err := b.s.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.wantNothing(other, time.Minute-1)
		b.wantReceived(other, "a")
	})
}

// Who comes later does not overtake somebody who was woken but has not run yet.
func TestNewcomerDoesNotOvertakeWhoWaits(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		for range 100 {
			got := waiting(b, 1, broker.Credit{Messages: 1, Bytes: 1})
			b.publish("a")
			b.wantNothing(b.s, 1)
			if out := drain(got); !slices.Equal(out, []string{"0:a"}) {
				b.Fatalf("who waited got %q", out)
			}
		}
	})
}
