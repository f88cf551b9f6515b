package brokertest

import (
	"errors"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

var disconnectCases = []testCase{
	{name: "AConsumerRecoversFromALostConnection", promise: noSilentLoss, run: consumerRecovers},
	{name: "APublisherRecoversFromALostConnection", promise: noSilentLoss, run: publisherRecovers},
	{name: "ALostConnectionLosesNoMessage", promise: noSilentLoss, run: lostConnectionLosesNothing},
	{name: "ASessionThatEndedSaysSo", promise: leases, run: sessionEnds},
	{name: "ADeliveryOfAnEndedSessionSettlesNothingNewer", promise: noSilentLoss, run: sessionSettlesNothingNewer},
}

// needsDrop skips the case where the harness cannot cut connections.
func (q *queue) needsDrop() {
	q.Helper()
	q.needs(q.Drop != nil, "a way to cut connections: Queue.Drop is nil")
}

// publishUntilSafe publishes as a caller does that meets passing errors: the
// same message again, until it is confirmed.
func (q *queue) publishUntilSafe(m *broker.Message) {
	q.Helper()
	for deadline := time.Now().Add(q.h.Patience); ; q.sleep(q.h.Patience / 100) {
		err := q.tryPublish(q.Name, m)
		if err == nil {
			return
		}
		if isFinal(err) || errors.Is(err, broker.ErrTooLarge) || errors.Is(err, broker.ErrInvalid) {
			q.Fatalf("publish after the connection was cut: %v, which is final", err)
		}
		if time.Now().After(deadline) {
			q.Fatalf("publish after the connection was cut still fails after %v: %v", q.h.Patience, err)
		}
	}
}

// A Receive that waits while the connection is cut reports a passing error or
// goes on waiting; calling again is all that its caller has to do.
func consumerRecovers(e *env) {
	q := e.queue()
	q.needsDrop()
	a := q.consumer()
	for range 2 {
		p := a.start(e.h.Patience, broker.Credit{Messages: 1, Bytes: plenty})
		p.returns(e.h.Quiet / 4)
		q.Drop(q.T)
		m := plain("after the cut")
		q.publishUntilSafe(m)
		p.returns(e.h.Patience)
		gots, err := p.result()
		if isFinal(err) {
			e.Fatalf("Receive while the connection was cut: %v, which is final", err)
		}
		if len(gots) == 0 {
			gots = a.receive(1)
		}
		e.sameBodies("after the connection was cut", gots, "after the cut")
		ackAll(gots)
	}
}

// A publisher connects again by itself; what it then confirms is safe.
func publisherRecovers(e *env) {
	q := e.queue()
	q.needsDrop()
	q.consumer()
	q.publish(plain("before the cut"))
	q.Drop(q.T)
	m := plain("after the cut")
	q.publishUntilSafe(m)
	seen := make(map[string]bool)
	for deadline := time.Now().Add(2 * e.h.Patience); len(seen) < 2; {
		if time.Now().After(deadline) {
			e.Fatalf("only %v of two confirmed messages can be received", seen)
		}
		for _, g := range q.poll(e.h.Patience, broker.Credit{Messages: 2, Bytes: plenty}, q.open()...) {
			seen[string(g.Body)] = true // perhaps twice: a confirmation may have been lost
			g.ack()
		}
	}
}

// Every message that was not settled when the connection was cut comes back or
// can still be settled, those in an adapter's buffer included.
func lostConnectionLosesNothing(e *env) {
	q := e.queue(e.leased)
	q.needsDrop()
	a := q.consumer()
	const n = 8
	q.publish(numbered(n)...)
	held := a.poll(e.h.Patience, broker.Credit{Messages: 3, Bytes: plenty}, a)
	if len(held) == 0 {
		e.Fatalf("got no message within %v", e.h.Patience)
	}
	e.needsLoss(held[0])
	q.Drop(q.T)
	done := make(map[string]bool)
	settle := func(g *got) {
		err := g.try(broker.Settlement{Action: broker.Ack})
		switch {
		case err == nil:
			done[string(g.Body)] = true
		case !errors.Is(err, broker.ErrLeaseLost):
			e.Logf("ack after the connection was cut: %v; it comes back", err)
		}
	}
	for _, g := range held {
		settle(g)
	}
	wait := min(a.caps.Lease, e.h.LongestWait) + 2*e.h.Patience
	for deadline := time.Now().Add(wait); len(done) < n; {
		left := time.Until(deadline)
		if left <= 0 {
			e.Fatalf("%d of %d messages could be acknowledged within %v after the connection was cut: %v", len(done), n, wait, done)
		}
		for _, g := range q.poll(left, broker.Credit{Messages: n, Bytes: plenty}, a) {
			settle(g)
		}
	}
	q.empty()
}

// cutSession receives one message, cuts the connection, and waits until the
// session of the delivery has ended.
func (q *queue) cutSession() *got {
	q.Helper()
	q.needsDrop()
	a := q.consumer()
	q.publish(plain("in flight"))
	g := a.one()
	q.needs(g.Session != nil, "leases that live on a session: Delivery.Session is nil")
	q.Drop(q.T)
	timer := time.NewTimer(q.h.Patience)
	defer timer.Stop()
	select {
	case <-g.Session.Lost():
	case <-timer.C:
		q.Fatalf("the session %q has not ended %v after its connection was cut", g.Session.Name(), q.h.Patience)
	}
	return g
}

// When its connection is gone a session ends, with a cause, and what lived on it
// is lost at once.
func sessionEnds(e *env) {
	q := e.queue()
	g := q.cutSession()
	if g.Session.Cause() == nil {
		e.Errorf("the session %q ended without a cause", g.Session.Name())
	}
	e.wantLost("ack after the session ended", g.try(broker.Settlement{Action: broker.Ack}))
	again := g.by.one()
	if again.Session == g.Session || again.Session == nil || again.Session.Cause() != nil {
		e.Errorf("the next delivery does not live on a new session")
	}
	again.ack()
	q.empty()
}

// After a reconnect an old delivery must not be mistaken for a new one that the
// broker gave the same number.
func sessionSettlesNothingNewer(e *env) {
	q := e.queue()
	old := q.cutSession()
	newer := old.by.one()
	for _, late := range []broker.Action{broker.Ack, broker.Retry, broker.Release} {
		e.wantLost("late "+late.String(), old.try(settlement(old, late)))
	}
	q.empty()
	newer.release(0)
	old.by.one().ack()
	q.empty()
}
