package brokertest

import (
	"github.com/anyqueue/anyqueue/broker"
)

var releaseCases = []testCase{
	{name: "AReleasedMessageComesBackAtOnce", promise: noSilentLoss, run: releaseAtOnce},
	{name: "AReleaseComesBackAfterItsDelay", promise: noSilentLoss, run: releaseAfterDelay},
	{name: "AReleaseSpendsNoAttempt", promise: notFailures, run: releaseIsFree},
	{name: "AReleaseCarriesAttemptsMadeInTheProcess", promise: oneRetryLayer, run: releaseCarriesAttempt},
	{name: "AReleaseKeepsTheFailureRecord", promise: oneRetryLayer, run: releaseKeepsFailure},
	{name: "AReleasedMessageIsTheSame", promise: contentIsKept, run: releaseKeepsTheMessage},
}

// A released message is there for any consumer, at once, once.
func releaseAtOnce(e *env) {
	q := e.queue()
	a := q.consumer()
	q.publish(plain("not now"))
	a.one().release(0)
	q.consumer()
	g := q.one()
	q.empty()
	g.ack()
	q.empty()
}

// A released message stays away for the time asked for.
func releaseAfterDelay(e *env) {
	q := e.queue()
	a := q.consumer()
	e.needs(a.caps.MaxDelay >= e.h.Delay, "delays: Capabilities.MaxDelay is below Harness.Delay")
	q.consumer()
	q.publish(plain("not now"))
	began := q.one().release(e.h.Delay)
	q.comesBack(began, e.h.Delay).ack()
}

// Work that was given back is not work that failed, however often and with
// whatever delay.
func releaseIsFree(e *env) {
	q := e.queue()
	a := q.consumer()
	e.needs(a.caps.ReleaseIsFree, "releases that spend nothing: Capabilities.ReleaseIsFree is false")
	q.publish(plain("given back"))
	g := q.one()
	for i := range 4 {
		if i == 2 && a.caps.MaxDelay >= e.h.Delay {
			g.release(e.h.Delay)
			e.sleep(e.h.Delay)
		} else {
			g.release(0)
		}
		g = q.one()
		if g.Attempt != 1 {
			e.Errorf("Attempt is %d after %d releases, want 1", g.Attempt, i+1)
		}
	}
	g.retry(0)
	g = q.one()
	if g.Attempt != 2 && a.caps.CarriesAttempts {
		e.Errorf("Attempt is %d after releases and one retry, want 2", g.Attempt)
	}
	g.ack()
}

// Attempts that were made in the process before a shutdown count when another
// process takes over.
func releaseCarriesAttempt(e *env) {
	q := e.queue()
	a := q.consumer()
	e.needs(a.caps.CarriesAttempts && a.caps.ReleaseIsFree,
		"a release that carries attempts: Capabilities.CarriesAttempts or ReleaseIsFree is false")
	q.publish(plain("tried three times in the process"))
	q.one().settled(broker.Settlement{Action: broker.Release, Attempt: 4})
	g := q.one()
	if g.Attempt != 4 {
		e.Errorf("Attempt is %d after a Release that said 4", g.Attempt)
	}
	g.ack()
}

// A release takes away nothing of what is known of earlier failures.
func releaseKeepsFailure(e *env) {
	q := e.queue()
	a := q.consumer()
	e.needs(a.caps.CarriesFailure, "a broker that carries failure records: Capabilities.CarriesFailure is false")
	q.publish(plain("failed once"))
	why := record("failed once")
	q.one().settled(broker.Settlement{Action: broker.Retry, Attempt: 2, Failure: why})
	q.one().release(0)
	g := q.one()
	e.sameRecord("after a Release that passed it on", g.Failure, why)
	g.ack()
}

// A message that was given back is what was published.
func releaseKeepsTheMessage(e *env) {
	q := e.queue()
	a := q.consumer()
	m := rich()
	want := m.Clone()
	q.publish(m)
	for range 3 {
		g := q.one()
		e.sameMessage("after a release", a.caps, g.Message, want)
		g.release(0)
	}
	q.one().ack()
}
