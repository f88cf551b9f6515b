package brokertest

import (
	"errors"

	"github.com/anyqueue/anyqueue/broker"
)

var leaseCases = []testCase{
	{name: "ALeasedMessageIsDeliveredToNobodyElse", promise: leases, run: leaseExcludes},
	{name: "ALeaseThatRunsOutIsDeliveredToAnotherConsumer", promise: leases, run: leaseRunsOut},
	{name: "LeaseUntilIsWhenTheLeaseEnds", promise: leases, run: leaseUntilIsTrue},
	{name: "AnAckAfterTheLeaseEitherHoldsOrSaysLost", promise: leases, run: ackAfterTheLease},
	{name: "ALateSettlementTouchesNothingNewer", promise: leases, run: lateSettlement},
}

// While a message is leased no consumer is given it, not even its own.
func leaseExcludes(e *env) {
	q := e.queue()
	q.consumer()
	q.consumer()
	q.publish(plain("held"))
	g := q.one()
	q.nothing(2 * e.h.Quiet)
	g.ack()
	q.empty()
}

// A consumer that does not answer loses its message to another.
func leaseRunsOut(e *env) {
	q := e.queue(e.leased)
	a, b := q.consumer(), q.consumer()
	lease := a.needsLease()
	q.publish(numbered(3)...)
	held := a.receive(3)
	gots := b.poll(lease+e.h.Patience, broker.Credit{Messages: 3, Bytes: plenty}, b)
	if len(gots) < 3 {
		gots = append(gots, b.receive(3-len(gots))...)
	}
	e.sameBodies("a second consumer after the end of the lease", gots, "message 0", "message 1", "message 2")
	for _, g := range gots {
		if early := held[0].LeaseUntil.Sub(g.at); early > e.h.Precision {
			e.Errorf("%q was delivered to a second consumer %v before the lease ended", g.Body, early)
		}
	}
	ackAll(gots)
	q.empty()
}

// comesBackWhenLost waits for the end of a delivery's lease, with all consumers
// watching, and returns the next delivery of the message.
func (q *queue) comesBackWhenLost(g *got) *got {
	q.Helper()
	return q.comesBack(g.at, g.LeaseUntil.Sub(g.at))
}

// LeaseUntil is Capabilities.Lease from the delivery, and true: nothing before,
// and soon then.
func leaseUntilIsTrue(e *env) {
	q := e.queue(e.leased)
	a := q.consumer()
	lease := a.needsLease()
	q.consumer()
	q.publish(plain("until"))
	g := a.one()
	if d := g.LeaseUntil.Sub(g.asked); d < lease-e.h.Precision {
		e.Errorf("LeaseUntil is %v after Receive was called, Capabilities.Lease being %v", d, lease)
	}
	q.comesBackWhenLost(g).ack()
}

// An ack between the end of the lease and the next delivery is either in time
// after all, and then the message is gone, or too late, and then it says so and
// the message is delivered again. Never both, never neither.
func ackAfterTheLease(e *env) {
	q := e.queue(e.leased)
	a := q.consumer()
	lease := a.needsLease()
	q.publish(plain("late"))
	g := a.one()
	e.sleep(lease + 2*e.h.Precision + e.h.Quiet/4)
	switch err := g.try(broker.Settlement{Action: broker.Ack}); {
	case err == nil:
		q.nothing(lease + e.h.Quiet)
	case errors.Is(err, broker.ErrLeaseLost):
		q.one().ack()
		q.empty()
	default:
		e.Errorf("ack after the lease: error is %v, want nil or one that matches broker.ErrLeaseLost", err)
	}
}

// When somebody else has the message, whatever its former consumer says of it is
// refused and changes nothing: not the other's lease, not the queue, not the
// dead-letter queue.
func lateSettlement(e *env) {
	q := e.queue(e.leased)
	a, b := q.consumer(), q.consumer()
	lease := a.needsLease()
	late := []broker.Action{broker.Ack, broker.Retry, broker.Release}
	if a.caps.DeadLetters {
		late = append(late, broker.DeadLetter)
	}
	q.publish(numbered(len(late))...)
	old := a.receive(len(late))
	gots := b.poll(lease+e.h.Patience, broker.Credit{Messages: len(late), Bytes: plenty}, b)
	if len(gots) < len(late) {
		gots = append(gots, b.receive(len(late)-len(gots))...)
	}
	for i, action := range late {
		e.wantLost("late "+action.String(), old[i].try(settlement(old[i], action)))
	}
	q.nothing(min(lease/4, e.h.Quiet))
	for _, g := range gots {
		if err := g.try(broker.Settlement{Action: broker.Ack}); err != nil {
			e.Errorf("ack of %q by the consumer that holds it, after late settlements of another: %v", g.Body, err)
		}
	}
	q.nothing(lease + e.h.Quiet)
	if a.caps.DeadLetters {
		dead := q.deadLetters()
		dead.watch(e.h.Quiet, dead)
	}
}
