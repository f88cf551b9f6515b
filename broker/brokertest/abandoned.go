package brokertest

import (
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

var abandonedCases = []testCase{
	{name: "AMessageWhoseLeaseRanOutCountsAsAbandoned", promise: notFailures, run: abandonedByLease},
	{name: "AMessageWhoseConsumerWasKilledCountsAsAbandoned", promise: notFailures, run: abandonedByKill},
	{name: "AbandonedStartsAnewAfterASettlement", promise: notFailures, run: abandonedIsReset},
	{name: "AKilledConsumerLosesNothing", promise: noSilentLoss, run: killLosesNothing},
}

// wantAbandoned checks the evidence that a delivery gives of earlier ones, n of
// which ended without a settlement, and that no attempt was spent.
func wantAbandoned(e *env, g *got, n int) {
	e.Helper()
	if caps := g.by.caps; caps.CountsAbandoned && g.Abandoned != n {
		e.Errorf("Abandoned is %d, want %d", g.Abandoned, n)
	} else if !caps.CountsAbandoned && g.Abandoned != 0 {
		e.Errorf("Abandoned is %d although Capabilities.CountsAbandoned is false", g.Abandoned)
	}
	if g.by.caps.CarriesAttempts && g.Attempt != 1 {
		e.Errorf("Attempt is %d after %d deliveries that failed at nothing, want 1", g.Attempt, n)
	}
}

// Each lease that runs out is counted, and is no attempt.
func abandonedByLease(e *env) {
	q := e.queue(e.leased)
	q.consumer().needsLease()
	q.publish(plain("nobody answers"))
	g := q.one()
	wantAbandoned(e, g, 0)
	for n := 1; n <= 2; n++ {
		g = q.comesBackWhenLost(g)
		wantAbandoned(e, g, n)
	}
	g.ack()
}

// Each consumer that dies is counted, and is no attempt.
func abandonedByKill(e *env) {
	q := e.queue(e.leased)
	q.needsKill()
	q.publish(plain("kills its consumer"))
	victim := q.consumer()
	g := victim.one()
	for n := 1; n <= 2; n++ {
		e.needsLoss(g)
		q.kill(victim)
		victim = q.consumer()
		g = q.afterLoss(g)
		wantAbandoned(e, g, n)
	}
	g.ack()
}

// needsLoss skips the case where the broker learns of the end of g's consumer
// neither from a session nor from a lease that can be waited for.
func (e *env) needsLoss(g *got) {
	e.Helper()
	if lease := g.by.caps.Lease; g.Session == nil && lease > e.h.LongestWait {
		e.Skipf("brokertest: needs a lease that can be waited for: Capabilities.Lease is %v, Harness.LongestWait %v",
			lease, e.h.LongestWait)
	}
}

// afterLoss receives one message that g's consumer may still have to lose.
func (q *queue) afterLoss(g *got) *got {
	q.Helper()
	deadline := time.Now().Add(q.h.Patience)
	if g.Session == nil {
		deadline = deadline.Add(g.by.caps.Lease)
	}
	return q.comesBackBy(deadline)
}

// A settlement answers for the message: whatever comes then is counted from
// there.
func abandonedIsReset(e *env) {
	q := e.queue(e.leased)
	a := q.consumer()
	a.needsLease()
	e.needs(a.caps.CountsAbandoned, "a count of abandoned deliveries: Capabilities.CountsAbandoned is false")
	q.publish(plain("answers in the end"))
	g := q.comesBackWhenLost(q.one())
	g.settled(broker.Settlement{Action: broker.Retry, Attempt: 1})
	g = q.one()
	wantAbandoned(e, g, 0)
	g = q.comesBackWhenLost(g)
	wantAbandoned(e, g, 1)
	g.release(0)
	g = q.one()
	if g.Abandoned != 0 {
		e.Errorf("Abandoned is %d after a release, want 0", g.Abandoned)
	}
	g.ack()
}

// What a dead consumer had settled stays settled; everything else comes back.
func killLosesNothing(e *env) {
	q := e.queue(e.leased)
	q.needsKill()
	a := q.consumer()
	q.publish(numbered(5)...)
	held := a.receive(5)
	e.needsLoss(held[0])
	ackAll(held[:2])
	q.kill(a)
	q.consumer()
	var back []*got
	for len(back) < 3 {
		g := q.afterLoss(held[0])
		g.ack()
		back = append(back, g)
	}
	e.sameBodies("after the death of a consumer that had settled two of five", back,
		string(held[2].Body), string(held[3].Body), string(held[4].Body))
	q.empty()
}
