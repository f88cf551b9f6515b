package brokertest

import (
	"errors"
	"slices"

	"github.com/anyqueue/anyqueue/broker"
)

var ackCases = []testCase{
	{name: "AnAcknowledgedMessageNeverComesBack", promise: noSilentLoss, run: ackIsForGood},
	{name: "AnAcknowledgedMessageNeverComesBackAfterItsLease", promise: leases, run: ackOutlivesTheLease},
	{name: "AnAckOutOfOrderRemovesThatMessageAlone", promise: noSilentLoss, run: ackOutOfOrder},
	{name: "SettlingTwiceReportsALostLease", promise: nothingHidden, run: settleTwice},
	{name: "SettlingTwiceTouchesNothingNewer", promise: noSilentLoss, run: settleTwiceTouchesNothingNewer},
}

// An acknowledged message is gone, for every consumer, also for one that comes
// later.
func ackIsForGood(e *env) {
	q := e.queue()
	a := q.consumer()
	q.consumer()
	q.publish(numbered(3)...)
	ackAll(q.receive(3))
	q.empty()
	a.close()
	q.consumer()
	q.empty()
}

// The end of the lease that an acknowledged message had brings nothing back.
func ackOutlivesTheLease(e *env) {
	q := e.queue(e.leased)
	a := q.consumer()
	lease := a.needsLease()
	q.publish(numbered(2)...)
	ackAll(q.receive(2))
	q.nothing(lease + e.h.Quiet)
}

// Each message is acknowledged for itself: no ack means "and all before".
func ackOutOfOrder(e *env) {
	q := e.queue()
	a := q.consumer()
	q.publish(numbered(6)...)
	held := a.receive(6)
	slices.SortFunc(held, func(x, y *got) int { return slices.Compare(x.Body, y.Body) })
	held[4].ack()
	held[1].ack()
	for _, i := range []int{0, 2, 3, 5} {
		held[i].release(0)
	}
	back := a.receive(4)
	e.sameBodies("after acknowledging 4 and 1 and releasing the rest", back,
		"message 0", "message 2", "message 3", "message 5")
	ackAll(back)
	q.empty()
}

// A settlement of what is already settled did nothing, and says so.
func settleTwice(e *env) {
	q := e.queue()
	a := q.consumer()
	actions := []broker.Action{broker.Ack, broker.Retry, broker.Release}
	if a.caps.DeadLetters {
		actions = append(actions, broker.DeadLetter)
	}
	for _, first := range actions {
		for _, second := range actions {
			q.publish(plain("settled twice"))
			g := a.one()
			g.settled(settlement(g, first))
			e.wantLost(second.String()+" after "+first.String(), g.try(settlement(g, second)))
			if first == broker.Retry || first == broker.Release {
				a.one().ack()
			}
		}
	}
	q.empty()
}

// settlement returns a settlement as the runtime would ask for it.
func settlement(g *got, action broker.Action) broker.Settlement {
	s := broker.Settlement{Action: action, Attempt: g.Attempt}
	switch action {
	case broker.Retry:
		s.Attempt++
	case broker.DeadLetter:
		s.Failure = record("settled twice")
	default:
	}
	return s
}

// A late settlement of an old delivery does nothing to the newer delivery of
// the same message, which somebody else works on.
func settleTwiceTouchesNothingNewer(e *env) {
	q := e.queue()
	a := q.consumer()
	for _, late := range []broker.Action{broker.Ack, broker.Retry, broker.Release} {
		q.publish(plain("delivered twice"))
		old := a.one()
		old.retry(0)
		newer := a.one()
		e.wantLost("late "+late.String(), old.try(settlement(old, late)))
		q.empty()
		newer.release(0)
		last := a.one()
		if err := last.try(broker.Settlement{Action: broker.Ack}); err != nil {
			if errors.Is(err, broker.ErrLeaseLost) {
				e.Fatalf("the newer delivery was lost to a late %s of the older one: %v", late, err)
			}
			e.Fatalf("ack of the newer delivery: %v", err)
		}
	}
	q.empty()
}
