package brokertest

import (
	"errors"
	"slices"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

var extendCases = []testCase{
	{name: "AnExtensionHoldsTheLease", promise: leases, run: extendHolds},
	{name: "ExtensionsInTimeHoldTheLeaseForAsLongAsTheyGoOn", promise: leases, run: extendAgainAndAgain},
	{name: "ABatchOfExtensionsHoldsAll", promise: leases, run: extendBatch},
	{name: "AnExtensionOfALostLeaseSaysSoAndTouchesNothingNewer", promise: leases, run: extendLost},
	{name: "ABatchOfExtensionsNamesExactlyThoseLost", promise: leases, run: extendNamesLost},
	{name: "AnExtensionOfWhatWasSettledIsNoError", promise: leases, run: extendSettled},
	{name: "MaxLeaseEndsWhatIsExtendedForEver", promise: leases, run: extendBeyondMaxLease},
	{name: "ExtendIsUnsupportedWhereCapabilitiesSaySo", promise: nothingHidden, run: extendUnsupported},
}

// extendable makes a queue with a short lease that can be extended.
func (e *env) extendable(set ...func(*QueueSpec)) (q *queue, a *consumer, lease time.Duration) {
	e.Helper()
	q = e.queue(append(set, e.leased)...)
	a = q.consumer()
	e.needs(a.caps.Extends, "leases that can be extended: Capabilities.Extends is false")
	lease = a.needsLease()
	return q, a, lease
}

// extended extends or fails, and returns when that began.
func (c *consumer) extended(by time.Duration, gots ...*got) time.Time {
	c.Helper()
	began := time.Now()
	if err := c.extend(by, gots...); err != nil {
		c.Fatalf("Extend %d deliveries by %v: %v", len(gots), by, err)
	}
	return began
}

// An extension counts from the call, and the lease then ends as any other.
func extendHolds(e *env) {
	q, a, lease := e.extendable()
	q.consumer()
	q.publish(plain("slow"))
	g := a.one()
	e.sleep(lease / 2)
	began := a.extended(2*lease, g)
	q.comesBack(began, 2*lease).ack()
}

// A consumer that extends in time keeps its message, and can settle it.
func extendAgainAndAgain(e *env) {
	q, a, lease := e.extendable()
	b := q.consumer()
	q.publish(plain("slower"))
	g := a.one()
	for range 5 {
		b.watch(lease/2, b)
		a.extended(lease, g)
	}
	g.ack()
	q.nothing(lease + e.h.Quiet)
}

// One call extends up to MaxExtend deliveries.
func extendBatch(e *env) {
	q, a, lease := e.extendable()
	n := min(a.caps.MaxExtend, 50)
	q.publish(numbered(n)...)
	held := a.receive(n)
	a.extended(3*lease, held...)
	q.nothing(lease + e.h.Quiet)
	ackAll(held)
	q.empty()
}

// A lease that is lost is not revived, least of all at the expense of whoever
// has the message now.
func extendLost(e *env) {
	q, a, lease := e.extendable()
	b := q.consumer()
	q.publish(plain("lost"))
	old := a.one()
	newer := b.poll(lease+e.h.Patience, broker.Credit{Messages: 1, Bytes: plenty}, b)
	if len(newer) == 0 {
		e.Fatalf("a lease of %v has not ended after %v", lease, time.Since(old.at))
	}
	e.wantLost("extension of a lost lease", a.extend(4*lease, old))
	q.comesBackWhenLost(newer[0]).ack()
}

// In a batch, the lost ones are named and the others extended.
func extendNamesLost(e *env) {
	q, a, lease := e.extendable()
	e.needs(a.caps.MaxExtend >= 3, "batches of three: Capabilities.MaxExtend is lower")
	b := q.consumer()
	q.publish(plain("lost"))
	lost := a.one()
	for _, g := range b.poll(lease+e.h.Patience, broker.Credit{Messages: 1, Bytes: plenty}, b) {
		g.ack()
	}
	q.publish(numbered(2)...)
	live := a.receive(2)
	err := a.extend(3*lease, live[0], lost, live[1])
	var named *broker.SettleError
	if !errors.As(err, &named) {
		e.Fatalf("extension of one lost and two live leases: error is %v, want a *broker.SettleError", err)
	}
	if is := indexes(named.Failed); !slices.Equal(is, []int{1}) {
		e.Errorf("SettleError names %v of a batch whose second lease was lost, want [1]", is)
	}
	e.wantLost("the lost one", err)
	q.nothing(lease + e.h.Quiet)
	ackAll(live)
	q.empty()
}

// Extensions run beside settlements: one that comes too late for a message that
// is done is no error, and brings nothing back.
func extendSettled(e *env) {
	q, a, lease := e.extendable()
	e.needs(a.caps.MaxExtend >= 2, "batches of two: Capabilities.MaxExtend is 1")
	q.publish(numbered(2)...)
	gots := a.receive(2)
	gots[0].ack()
	a.extended(3*lease, gots...)
	q.nothing(lease + e.h.Quiet)
	gots[1].ack()
	q.empty()
}

// Nothing hides a message for ever: at the broker's limit extensions fail, and
// the message comes back.
func extendBeyondMaxLease(e *env) {
	q, a, lease := e.extendable(func(s *QueueSpec) { s.MaxLease = 2 * e.h.Lease })
	limit := a.caps.MaxLease
	e.needs(limit > 0, "a limit of leases: Capabilities.MaxLease is 0")
	if limit > e.h.LongestWait {
		e.Skipf("brokertest: needs a limit that can be waited for: Capabilities.MaxLease is %v, Harness.LongestWait %v",
			limit, e.h.LongestWait)
	}
	q.publish(plain("endless"))
	g := a.one()
	var err error
	for err == nil && time.Since(g.at) < limit+e.h.Patience {
		e.sleep(lease / 4)
		err = a.extend(lease, g)
	}
	if !errors.Is(err, broker.ErrUnsupported) && !errors.Is(err, broker.ErrLeaseLost) {
		e.Errorf("extensions up to %v after the delivery, Capabilities.MaxLease being %v: the last error is %v, "+
			"want one that matches broker.ErrUnsupported or broker.ErrLeaseLost", time.Since(g.at), limit, err)
	}
	q.comesBackBy(g.at.Add(limit + e.h.Patience)).ack()
}

// An extension that cannot be had is refused with an error that says so, and
// the delivery stays as it was.
func extendUnsupported(e *env) {
	q := e.queue()
	a := q.consumer()
	e.needs(!a.caps.Extends, "leases that cannot be extended: Capabilities.Extends is true")
	q.publish(plain("as it was"))
	g := a.one()
	if err := a.extend(time.Minute, g); !errors.Is(err, broker.ErrUnsupported) {
		e.Errorf("Extend: error is %v, want one that matches broker.ErrUnsupported", err)
	}
	g.ack()
	q.empty()
}
