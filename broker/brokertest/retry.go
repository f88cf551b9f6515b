package brokertest

import (
	"errors"
	"math"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

var retryCases = []testCase{
	{name: "ARetryWithoutDelayComesBackAtOnce", promise: noSilentLoss, run: retryAtOnce},
	{name: "ARetryComesBackAfterItsDelay", promise: noSilentLoss, run: retryAfterDelay},
	{name: "AShortDelayIsNotHeldUpByALongOne", promise: noSilentLoss, run: retryDelaysAreIndependent},
	{name: "ARetryOutlivesItsConsumer", promise: noSilentLoss, run: retryOutlivesConsumer},
	{name: "ADelayBeyondTheLimitIsRefusedAndLosesNothing", promise: noSilentLoss, run: retryBeyondMaxDelay},
	{name: "TheNextAttemptIsTheOneAskedFor", promise: oneRetryLayer, run: retryCarriesAttempt},
	{name: "AttemptCountsDeliveriesWhereItCannotBeCarried", promise: oneRetryLayer, run: attemptCountsDeliveries},
	{name: "TheFailureRecordReachesTheNextAttempt", promise: oneRetryLayer, run: retryCarriesFailure},
	{name: "AMessageIsTheSameAfterSeveralRetries", promise: contentIsKept, run: retryKeepsTheMessage},
}

// Without a delay the message is there at once, once.
func retryAtOnce(e *env) {
	q := e.queue()
	q.consumer()
	q.publish(plain("again"))
	q.one().retry(0)
	g := q.one()
	q.empty()
	g.ack()
	q.empty()
}

// A delay is at least what was asked for, and not much more; nobody sees the
// message before.
func retryAfterDelay(e *env) {
	q := e.queue()
	a := q.consumer()
	e.needs(a.caps.MaxDelay >= 2*e.h.Delay, "delays: Capabilities.MaxDelay is below twice Harness.Delay")
	q.consumer()
	q.publish(plain("later"))
	for _, delay := range []time.Duration{e.h.Delay, 2 * e.h.Delay} {
		began := q.one().retry(delay)
		q.comesBack(began, delay).release(0)
	}
	q.one().ack()
}

// comesBack receives one message and checks when: at least delay after began,
// and soon then.
func (q *queue) comesBack(began time.Time, delay time.Duration) *got {
	q.Helper()
	g := q.comesBackBy(began.Add(delay + q.h.Patience))
	if took := g.at.Sub(began); took < delay-q.h.Precision {
		q.Errorf("a message came back after %v, to be kept away for %v: too early", took, delay)
	}
	return g
}

// comesBackBy receives one message, from whichever open consumer gets it.
func (q *queue) comesBackBy(deadline time.Time) *got {
	q.Helper()
	for began := time.Now(); ; {
		left := time.Until(deadline)
		if left <= 0 {
			q.Fatalf("a message that was to come back by now has not, after a wait of %v", time.Since(began))
		}
		switch gots := q.poll(left, broker.Credit{Messages: 1, Bytes: plenty}, q.open()...); len(gots) {
		case 0:
		case 1:
			return gots[0]
		default:
			q.Fatalf("one message came back as %d%s", len(gots), bodies(gots))
		}
	}
}

// Delays run side by side: the message with the shorter one is back first,
// although it was delayed later.
func retryDelaysAreIndependent(e *env) {
	q := e.queue()
	a := q.consumer()
	e.needs(a.caps.MaxDelay >= 4*e.h.Delay, "delays: Capabilities.MaxDelay is below four times Harness.Delay")
	q.publish(plain("long"))
	long := a.one()
	q.publish(plain("short"))
	short := a.one()
	beganLong := long.retry(4 * e.h.Delay)
	beganShort := short.retry(e.h.Delay)

	first := q.comesBack(beganShort, e.h.Delay)
	e.sameBodies("the first to come back", []*got{first}, "short")
	if took := first.at.Sub(beganShort); took > 3*e.h.Delay && string(first.Body) == "short" {
		e.Errorf("a message delayed for %v came back after %v: held up by one delayed for %v", e.h.Delay, took, 4*e.h.Delay)
	}
	first.ack()
	second := q.comesBack(beganLong, 4*e.h.Delay)
	e.sameBodies("the second to come back", []*got{second}, "long")
	second.ack()
}

// A delayed message belongs to the broker: its consumer may go.
func retryOutlivesConsumer(e *env) {
	q := e.queue()
	a := q.consumer()
	e.needs(a.caps.MaxDelay >= e.h.Delay, "delays: Capabilities.MaxDelay is below Harness.Delay")
	q.publish(plain("orphan"))
	began := a.one().retry(e.h.Delay)
	a.close()
	q.consumer()
	q.comesBack(began, e.h.Delay).ack()
}

// A delay that the broker cannot express is an error that says so; the message
// stays leased and can be settled in another way. 0 means no delay at all.
func retryBeyondMaxDelay(e *env) {
	q := e.queue()
	a := q.consumer()
	e.needs(a.caps.MaxDelay < math.MaxInt64-time.Hour, "a limit of delays: Capabilities.MaxDelay is beyond every limit")
	beyond := a.caps.MaxDelay + time.Hour
	q.publish(plain("much later"))
	g := a.one()
	for _, action := range []broker.Action{broker.Retry, broker.Release} {
		err := g.try(broker.Settlement{Action: action, After: beyond, Attempt: g.Attempt + 1})
		if !errors.Is(err, broker.ErrUnsupported) {
			e.Fatalf("%s after %v, Capabilities.MaxDelay being %v: error is %v, want one that matches broker.ErrUnsupported",
				action, beyond, a.caps.MaxDelay, err)
		}
	}
	g.retry(0)
	a.one().ack()
	q.empty()
}

// The runtime counts attempts, with those in the process: the next delivery
// has exactly the number that the settlement said.
func retryCarriesAttempt(e *env) {
	q := e.queue()
	a := q.consumer()
	e.needs(a.caps.CarriesAttempts, "a broker that carries attempts: Capabilities.CarriesAttempts is false")
	q.publish(plain("counted"))
	g := q.one()
	for _, next := range []int{2, 3, 7, 8} { // 7: four attempts were made in the process
		g.settled(broker.Settlement{Action: broker.Retry, Attempt: next})
		g = q.one()
		if g.Attempt != next {
			e.Errorf("Attempt is %d after a Retry that said %d", g.Attempt, next)
		}
	}
	g.ack()
}

// Where the broker cannot carry the number, deliveries are the evidence:
// nothing else is.
func attemptCountsDeliveries(e *env) {
	q := e.queue()
	a := q.consumer()
	e.needs(!a.caps.CarriesAttempts, "a broker that does not carry attempts: Capabilities.CarriesAttempts is true")
	q.publish(plain("counted"))
	for delivery := 1; delivery <= 4; delivery++ {
		g := q.one()
		if g.Attempt != delivery {
			e.Errorf("Attempt is %d on delivery %d", g.Attempt, delivery)
		}
		g.settled(broker.Settlement{Action: broker.Retry, Attempt: 10 + delivery})
	}
	q.one().ack()
}

// What is known of earlier failures travels with the message, and the last
// record wins.
func retryCarriesFailure(e *env) {
	q := e.queue()
	a := q.consumer()
	e.needs(a.caps.CarriesFailure, "a broker that carries failure records: Capabilities.CarriesFailure is false")
	q.publish(plain("failing"))
	g := q.one()
	for _, note := range []string{"first failure", "second failure"} {
		why := record(note)
		g.settled(broker.Settlement{Action: broker.Retry, Attempt: g.Attempt + 1, Failure: why})
		g = q.one()
		e.sameRecord("after a Retry", g.Failure, why)
	}
	g.ack()
}

// However often a message is retried, with delay or without, it stays what was
// published, byte for byte, under the same ID and with the same age.
func retryKeepsTheMessage(e *env) {
	q := e.queue()
	a := q.consumer()
	m := rich()
	want := m.Clone()
	q.publish(m)
	g := q.one()
	for i := range 4 {
		s := broker.Settlement{Action: broker.Retry, Attempt: g.Attempt + 1}
		if i == 1 && a.caps.MaxDelay >= e.h.Delay {
			s.After = e.h.Delay
		}
		if i == 2 {
			s.Failure = record("travels beside the message, not in it")
		}
		began := g.settled(s)
		g = q.comesBack(began, s.After)
		e.sameMessage("after a retry", a.caps, g.Message, want)
	}
	g.ack()
}
