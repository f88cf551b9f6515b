package brokertest

import (
	"errors"

	"github.com/anyqueue/anyqueue/broker"
)

var faultCases = []testCase{
	{name: "ASettlementThatFailedIsReportedAndMayBeTriedAgain", promise: oneRetryLayer, run: settleFails},
	{name: "AnExtensionThatFailedIsReportedAndMayBeTriedAgain", promise: oneRetryLayer, run: extendFails},
	{name: "APublishThatFailedIsReportedAndMayBeTriedAgain", promise: oneRetryLayer, run: publishFails},
	{name: "AReceiveThatFailedLosesNothing", promise: noSilentLoss, run: receiveFails},
}

// failNext makes the next exchange fail, or skips.
func (q *queue) failNext(call Call) {
	q.Helper()
	q.needs(q.FailNext != nil, "a way to make an exchange fail: Queue.FailNext is nil")
	q.FailNext(q.T, call)
}

// wantPassing fails unless err is one that says: try again.
func (e *env) wantPassing(what string, err error) {
	e.Helper()
	switch {
	case err == nil:
		e.Errorf("%s succeeded although its exchange failed: either it tried again by itself, which is the runtime's to decide, "+
			"or it reports what did not happen", what)
	case isFinal(err), errors.Is(err, broker.ErrLeaseLost), errors.Is(err, broker.ErrTooLarge), errors.Is(err, broker.ErrInvalid):
		e.Errorf("%s failed with %v, which is final, although the fault passes", what, err)
	}
}

// One settlement is one exchange. When it fails the caller is told, the message
// stays leased as it was, and the same settlement then succeeds.
func settleFails(e *env) {
	q := e.queue()
	a := q.consumer()
	actions := []broker.Action{broker.Ack, broker.Retry, broker.Release}
	if a.caps.DeadLetters {
		actions = append(actions, broker.DeadLetter)
	}
	for _, action := range actions {
		q.publish(plain(action.String()))
		g := a.one()
		q.failNext(CallSettle)
		e.wantPassing(action.String(), g.try(settlement(g, action)))
		q.empty()
		g.settled(settlement(g, action))
		if action == broker.Retry || action == broker.Release {
			a.one().ack()
		}
	}
	q.empty()
	if a.caps.DeadLetters {
		dead := q.deadLetters()
		e.sameBodies("the dead-letter queue", dead.receiveAndAck(1), broker.DeadLetter.String())
		dead.watch(e.h.Quiet, dead)
	}
}

// One failed extension is no lost lease.
func extendFails(e *env) {
	q := e.queue()
	a := q.consumer()
	e.needs(a.caps.Extends, "leases that can be extended: Capabilities.Extends is false")
	q.publish(plain("held"))
	g := a.one()
	q.failNext(CallExtend)
	e.wantPassing("Extend", a.extend(e.longLease(), g))
	a.extended(e.longLease(), g)
	q.empty()
	g.ack()
}

// What Publish did not confirm is published again by its caller, under the same
// ID.
func publishFails(e *env) {
	q := e.queue()
	a := q.consumer()
	q.publish(plain("opens the publisher"))
	a.one().ack()
	m := plain("published twice, stored once")
	q.failNext(CallPublish)
	e.wantPassing("Publish", q.tryPublish(q.Name, m))
	id := m.ID
	q.publish(m)
	g := a.one()
	if id != "" && g.ID != id {
		e.Errorf("the message has ID %q after it was published again, it had %q", g.ID, id)
	}
	g.ack()
	q.empty()
}

// A Receive that failed leased nothing, or gives it back: the next one has it,
// long before a lease would end. It may also hide the fault and go on.
func receiveFails(e *env) {
	q := e.queue()
	a := q.consumer()
	q.publish(numbered(2)...)
	q.failNext(CallReceive)
	p := a.start(e.h.Patience, broker.Credit{Messages: 2, Bytes: plenty})
	gots, err := p.result()
	if isFinal(err) {
		e.Errorf("Receive failed with %v, which is final, although the fault passes", err)
	}
	if len(gots) < 2 {
		gots = append(gots, a.receive(2-len(gots))...)
	}
	e.sameBodies("after a Receive that failed", gots, "message 0", "message 1")
	ackAll(gots)
	q.empty()
}
