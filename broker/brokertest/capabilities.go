package brokertest

import "github.com/anyqueue/anyqueue/broker"

var capabilityCases = []testCase{
	{name: "CapabilitiesNameTheBroker", promise: nothingHidden, run: capabilitiesNameTheBroker},
	{name: "CapabilitiesAreWithinTheirBounds", promise: nothingHidden, run: capabilitiesAreWithinTheirBounds},
	{name: "CapabilitiesDoNotContradictEachOther", promise: nothingHidden, run: capabilitiesDoNotContradict},
	{name: "CapabilitiesNeverChange", promise: nothingHidden, run: capabilitiesNeverChange},
}

// Configuration, telemetry and the table of guarantees have words to use.
func capabilitiesNameTheBroker(e *env) {
	caps := e.queue().consumer().caps
	for field, value := range map[string]string{
		"Broker": caps.Broker, "System": caps.System, "Source": caps.Source,
		"AgeFrom": caps.AgeFrom, "Duplicates": caps.Duplicates,
	} {
		if value == "" {
			e.Errorf("Capabilities.%s is empty", field)
		}
	}
}

// Batches hold at least one, and no bound is negative.
func capabilitiesAreWithinTheirBounds(e *env) {
	caps := e.queue().consumer().caps
	atLeast := func(field string, value, bound int64) {
		if value < bound {
			e.Errorf("Capabilities.%s is %d, must be at least %d", field, value, bound)
		}
	}
	atLeast("MaxSettle", int64(caps.MaxSettle), 1)
	atLeast("MaxExtend", int64(caps.MaxExtend), 1)
	atLeast("SettleCalls", int64(caps.SettleCalls), 0)
	atLeast("Lease", int64(caps.Lease), 0)
	atLeast("MaxLease", int64(caps.MaxLease), 0)
	atLeast("MaxDelay", int64(caps.MaxDelay), 0)
	atLeast("SettleLinger", int64(caps.SettleLinger), 0)
	atLeast("DeliveryLimit", int64(caps.DeliveryLimit), 0)
	atLeast("MaxMessageBytes", int64(caps.MaxMessageBytes), 0)
	if s := caps.Server; s.Port < 0 || s.Port > 65535 || s.Port > 0 && s.Address == "" {
		e.Errorf("Capabilities.Server is %+v: a port is 0 to 65535, and belongs to an address", s)
	}
}

// The runtime plans with capabilities taken together.
func capabilitiesDoNotContradict(e *env) {
	q := e.queue(e.ordered)
	caps := q.consumer().caps
	not := func(fault bool, text string) {
		if fault {
			e.Errorf("Capabilities contradict each other: %s", text)
		}
	}
	not(caps.KeyOrder && !caps.Keys, "KeyOrder without Keys")
	not(caps.DelayKeepsOrder && !caps.KeyOrder, "DelayKeepsOrder without KeyOrder")
	not(caps.DelayKeepsOrder && caps.MaxDelay == 0, "DelayKeepsOrder without MaxDelay")
	not(caps.MaxLease > 0 && caps.MaxLease < caps.Lease, "MaxLease is shorter than Lease")
	not(caps.Lease > 0 && caps.SettleLinger >= caps.Lease, "SettleLinger is as long as Lease")
	not(caps.DeliveryLimit > 0 && caps.DeliveryLimit <= q.spec.Intent.MaxAttempts,
		"DeliveryLimit is not above Intent.MaxAttempts, the retry budget it was opened for")
	not(caps.DeadLetters && q.DeadLetters == nil, "DeadLetters is true and Queue.DeadLetters nil")
}

// Capabilities are asked for once and need no connection: they are the same for
// every consumer of the queue, before, during and after its use.
func capabilitiesNeverChange(e *env) {
	q := e.queue()
	a, b := q.consumer(), q.consumer()
	same := func(when string, have broker.Capabilities) {
		if have != a.caps {
			e.Errorf("Capabilities changed %s:\n have %+v\n want %+v", when, have, a.caps)
		}
	}
	same("for a second consumer", b.caps)
	q.publish(plain("one"))
	g := q.one()
	same("after a Receive", g.by.sub.Capabilities())
	g.ack()
	same("after a Settle", g.by.sub.Capabilities())
	a.close()
	same("after Close", a.sub.Capabilities())
}
