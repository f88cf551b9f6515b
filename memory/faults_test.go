package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

func (b *bench) inject(queue string, f Faults) {
	b.Helper()
	if err := b.Inject(queue, f); err != nil {
		b.Fatal(err)
	}
}

var errLine = errors.New("the line crackled")

// A call that fails whole does nothing, and its error names no element.
func TestCallThatFailsDoesNothing(t *testing.T) {
	inBubble(t, Queue{Lease: time.Second}, func(b *bench) {
		fail := Next(1, Fail(errLine))
		b.inject("q", Faults{ReceiveCall: fail})
		b.publish("a")
		_, err := b.s.Receive(b.Context(), broker.Credit{Messages: 1, Bytes: 1})
		b.wantIs(err, errLine)
		b.wantStats("q", 1, 0, 0, 0)

		a := b.one(b.s)
		b.inject("q", Faults{SettleCall: Next(1, Fail(errLine)), ExtendCall: Next(1, Fail(errLine)), PublishCall: Next(1, Fail(errLine))})
		for _, err := range []error{
			b.s.Settle(b.Context(), []broker.Settlement{{Delivery: a, Action: broker.Ack}}),
			b.s.Extend(b.Context(), []*broker.Delivery{a}, time.Hour),
			b.p.Publish(b.Context(), "q", &broker.Message{}),
		} {
			b.wantIs(err, errLine)
			var named *broker.SettleError
			var publish *broker.PublishError
			if errors.As(err, &named) || errors.As(err, &publish) {
				b.Fatalf("%v names elements", err)
			}
		}
		b.wantStats("q", 0, 1, 0, 0)
		b.wantReceived(b.s, "a") // it was not extended
	})
}

// A call whose response is lost is done, and its caller told that it failed.
func TestCallWhoseResponseIsLostIsDone(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		lost := Next(1, LoseResponse(errLine))
		b.inject("q", Faults{PublishCall: lost})
		b.wantIs(b.p.Publish(b.Context(), "q", &broker.Message{ID: "a", Body: []byte("a")}), errLine)
		b.wantStats("q", 1, 0, 0, 0)

		b.inject("q", Faults{ReceiveCall: Next(1, LoseResponse(errLine))})
		ds, err := b.s.Receive(b.Context(), broker.Credit{Messages: 1, Bytes: 1})
		if ds != nil {
			b.Fatalf("received %q beside an error", bodies(ds))
		}
		b.wantIs(err, errLine)
		b.wantStats("q", 0, 1, 0, 0) // leased, and nobody knows

		a := b.one(b.s) // when that lease has ended
		b.inject("q", Faults{SettleCall: Next(1, LoseResponse(errLine)), ExtendCall: Next(1, LoseResponse(errLine))})
		b.wantIs(b.s.Extend(b.Context(), []*broker.Delivery{a}, time.Hour), errLine)
		time.Sleep(time.Hour - 1)
		b.wantIs(b.s.Settle(b.Context(), []broker.Settlement{{Delivery: a, Action: broker.Ack}}), errLine)
		b.wantStats("q", 0, 0, 0, 0)
	})
}

// A request that is lost is not done, and its caller told that it was: a lost
// ack comes back after its lease.
func TestLostAckComesBack(t *testing.T) {
	for name, f := range map[string]Faults{
		"call":    {SettleCall: Next(1, LoseRequest()), ExtendCall: Next(1, LoseRequest()), PublishCall: Nth(2, LoseRequest())},
		"element": {Settle: Next(1, LoseRequest()), Extend: Next(1, LoseRequest()), Publish: Nth(2, LoseRequest())},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Queue{Lease: time.Second}, func(b *bench) {
				b.inject("q", f)
				b.publish("a", "lost")
				a := b.one(b.s)
				if err := b.s.Extend(b.Context(), []*broker.Delivery{a}, time.Hour); err != nil {
					b.Fatal(err)
				}
				b.ack(b.s, *a)
				b.wantStats("q", 0, 1, 0, 0)
				b.ack(b.s, b.wantReceived(b.s, "a")...)
				b.wantStats("q", 0, 0, 0, 0)
			})
		})
	}
}

// Faults of single elements are named, and all others of the call hold.
func TestFaultOfAnElementHarmsNoOther(t *testing.T) {
	inBubble(t, Queue{Lease: time.Second}, func(b *bench) {
		b.inject("q", Faults{Settle: Nth(2, Fail(errLine)), Extend: Every(2, Fail(errLine)), Publish: Nth(2, LoseResponse(errLine))})
		var unsafe *broker.PublishError
		if err := b.p.Publish(b.Context(), "q", messages(3)...); !errors.As(err, &unsafe) ||
			len(unsafe.Failed) != 1 || unsafe.Failed[0].Index != 1 {
			b.Fatalf("error is %v, want one that names message 1", err)
		}
		ds := b.wantReceived(b.s, "0", "1", "2") // all were stored
		var failed *broker.SettleError
		err := b.s.Extend(b.Context(), []*broker.Delivery{&ds[0], &ds[1], &ds[2]}, time.Hour)
		if !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].Index != 1 {
			b.Fatalf("error is %v, want one that names delivery 1", err)
		}
		ds = append(b.wantReceived(b.s, "1"), ds[0], ds[2])
		xs := []broker.Settlement{
			{Delivery: &ds[0], Action: broker.Ack}, {Delivery: &ds[1], Action: broker.Ack}, {Delivery: &ds[2], Action: broker.Ack},
		}
		err = b.s.Settle(b.Context(), xs)
		if !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].Index != 1 {
			b.Fatalf("error is %v, want one that names settlement 1", err)
		}
		b.wantIs(err, errLine)
		b.settle(b.s, xs[1])
		b.wantStats("q", 0, 0, 0, 0)
	})
}

// A duplicate is delivered while its original is leased, even with a key, and
// each of the two is settled by itself.
func TestDuplicateIsDeliveredAtTheSameTime(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		b.inject("q", Faults{Deliver: Next(1, Duplicate())})
		b.publish("1:k", "2:k")
		first := b.wantReceived(b.s, "1:k")
		second := b.wantReceived(b.s, "1:k")
		if second[0].Attempt != 1 || second[0].ID != first[0].ID {
			b.Fatalf("the duplicate is %+v", second[0])
		}
		b.wantStats("q", 0, 2, 0, 1)
		b.ack(b.s, second...) // the original still holds its key back
		b.wantStats("q", 0, 1, 0, 1)
		b.ack(b.s, first...)
		b.wantReceived(b.s, "2:k")
	})
}

// A message that is published twice is two messages.
func TestDuplicatePublicationIsStoredTwice(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		b.inject("q", Faults{Publish: Nth(1, Duplicate())})
		b.publish("a", "b")
		b.wantReceived(b.s, "a", "a", "b")
	})
}

// A message that is lost on its way stays leased while Receive waits for others,
// and comes back.
func TestMessageLostOnItsWayComesBack(t *testing.T) {
	inBubble(t, Queue{Lease: time.Second}, func(b *bench) {
		b.inject("q", Faults{Deliver: Next(2, LoseRequest())})
		b.publish("a", "b")
		began := time.Now()
		b.wantReceived(b.s, "a", "b")
		if d := time.Since(began); d != time.Second {
			b.Fatalf("received after %v, want when the leases ended", d)
		}
	})
}

// A slow broker answers late, and not at all when the context ends first.
func TestSlowCallTakesItsTimeUntilItsContextEnds(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		b.publish("a")
		b.inject("q", Faults{ReceiveCall: Slow(3 * time.Second)})
		began := time.Now()
		b.wantReceived(b.s, "a")
		if d := time.Since(began); d != 3*time.Second {
			b.Fatalf("received after %v, want 3s", d)
		}
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		defer cancel()
		_, err := b.s.Receive(ctx, broker.Credit{Messages: 1, Bytes: 1})
		b.wantIs(err, context.DeadlineExceeded)
	})
}

// A hook sees what it is asked about, and When picks by it: here dead letters
// are refused and everything else goes on.
func TestWhenPicksOperations(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		b.inject("q", Faults{Settle: When(
			func(op Op) bool {
				return op.Settlement.Action == broker.DeadLetter && op.Delivery == op.Settlement.Delivery && string(op.Message.Body) == "a"
			},
			Always(Fail(broker.ErrFull)),
		)})
		b.publish("a", "b")
		ds := b.receive(b.s, 2)
		for range 2 {
			x := broker.Settlement{Delivery: &ds[0], Action: broker.DeadLetter, Failure: record("x")}
			b.wantIs(b.settleErr(b.s, x), broker.ErrFull)
		}
		b.settle(b.s, broker.Settlement{Delivery: &ds[1], Action: broker.DeadLetter, Failure: record("x")})
		b.ack(b.s, ds[0])
	})
}

// A hook may call the broker: here the connection drops in the middle of a
// settlement, which therefore never happens.
func TestHookMayCallTheBroker(t *testing.T) {
	inBubbleWith(t, Queue{}, sessions, func(b *bench) {
		b.inject("q", Faults{Settle: func(context.Context, Op) Fault {
			b.s.Disconnect()
			return Fault{}
		}})
		b.publish("a")
		a := b.one(b.s)
		b.wantIs(b.s.Settle(b.Context(), []broker.Settlement{{Delivery: a, Action: broker.Ack}}), broker.ErrDisconnected)
		b.wantStats("q", 1, 0, 0, 0)
	})
}

// The counting hooks answer exactly the questions that they are made for.
func TestCountingHooks(t *testing.T) {
	for name, c := range map[string]struct {
		hook Hook
		want []int
	}{
		"Always":   {Always(LoseRequest()), []int{1, 2, 3, 4, 5, 6}},
		"Next(2)":  {Next(2, LoseRequest()), []int{1, 2}},
		"Next(0)":  {Next(0, LoseRequest()), nil},
		"Nth(3)":   {Nth(3, LoseRequest()), []int{3}},
		"Every(2)": {Every(2, LoseRequest()), []int{2, 4, 6}},
		"Every(0)": {Every(0, LoseRequest()), []int{1, 2, 3, 4, 5, 6}},
	} {
		var got []int
		for i := 1; i <= 6; i++ {
			if c.hook(t.Context(), Op{}) != (Fault{}) {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s answers %v, want %v", name, got, c.want)
		}
	}
}

// Faults can be changed while calls are under way, and the zero Faults ends them.
func TestFaultsMayChangeUnderLoad(t *testing.T) {
	inBubble(t, Queue{Lease: time.Second}, func(b *bench) {
		const n = 500
		if err := b.p.Publish(b.Context(), "q", messages(n)...); err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		for range 4 {
			s := b.subscribe("q", SubscribeOptions{})
			go func() {
				for ctx.Err() == nil {
					ds, _ := s.Receive(ctx, broker.Credit{Messages: 5, Bytes: 1 << 20})
					for i := range ds {
						_ = s.Settle(ctx, []broker.Settlement{{Delivery: &ds[i], Action: broker.Ack}})
					}
				}
			}()
		}
		for i := range 50 {
			time.Sleep(time.Millisecond)
			b.inject("q", Faults{Settle: Every(2, LoseRequest()), Deliver: Every(3+i, Duplicate()), SettleCall: Every(7, Fail(errLine))})
		}
		b.inject("q", Faults{})
		if err := b.Drained(ctx, "q"); err != nil {
			b.Fatal(err)
		}
		cancel()
		synctest.Wait()
	})
}

// Faults of a queue that does not exist are a mistake.
func TestInjectNeedsItsQueue(t *testing.T) {
	b := New(Options{})
	defer b.Close()
	if err := b.Inject("nowhere", Faults{}); !errors.Is(err, broker.ErrNotFound) {
		t.Fatal(fmt.Errorf("error is %w, want ErrNotFound", err))
	}
}
