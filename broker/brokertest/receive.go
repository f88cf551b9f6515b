package brokertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

var receiveCases = []testCase{
	{name: "ReceiveBlocksUntilAMessageArrives", promise: backpressure, run: receiveBlocks},
	{name: "ADeliveryStatesWhereItComesFrom", promise: nothingHidden, run: deliveryStatesItsFacts},
	{name: "ReceiveReturnsSoonWhenItsContextIsCancelled", promise: ownsItsResults, run: receiveCancelled},
	{name: "ReceiveReturnsSoonWhenItsContextTimesOut", promise: ownsItsResults, run: receiveTimesOut},
	{name: "WhatArrivesAfterACancelledReceiveIsNotHidden", promise: noSilentLoss, run: receiveAfterCancel},
	{name: "WhatArrivesDuringACancelIsNotHidden", promise: noSilentLoss, run: receiveDuringCancel},
	{name: "OtherCallsWorkWhileReceiveBlocks", promise: backpressure, run: callsWhileReceiveBlocks},
	{name: "DeliveriesStayAsTheyAreAfterTheNextReceive", promise: contentIsKept, run: deliveriesStay},
}

// Receive does not return while there is nothing, and wakes for one message
// without waiting for more.
func receiveBlocks(e *env) {
	q := e.queue()
	a := q.consumer()
	p := a.start(e.h.Quiet+2*e.h.Patience, broker.Credit{Messages: 10, Bytes: plenty})
	if p.returns(e.h.Quiet) {
		_, err := p.result()
		e.Fatalf("Receive on an empty queue returned, with error %v", err)
	}
	q.publish(plain("wake up"))
	gots, err := p.result()
	if err != nil {
		e.Fatalf("Receive: %v", err)
	}
	e.sameBodies("the blocked Receive", gots, "wake up")
	ackAll(gots)
}

// A first delivery says where it comes from, that it is the first attempt, and
// how long it is leased.
func deliveryStatesItsFacts(e *env) {
	q := e.queue()
	a := q.consumer()
	q.publish(plain("first"))
	g := a.one()
	if g.Source == "" || g.Source != a.caps.Source {
		e.Errorf("Source is %q, want Capabilities.Source, which is %q and must not be empty", g.Source, a.caps.Source)
	}
	if g.Attempt != 1 || g.Abandoned != 0 {
		e.Errorf("Attempt and Abandoned are %d and %d on the first delivery, want 1 and 0", g.Attempt, g.Abandoned)
	}
	e.sameRecord("first delivery", g.Failure, nil)
	if a.caps.Lease == 0 {
		if !g.LeaseUntil.IsZero() {
			e.Errorf("LeaseUntil is %v although Capabilities.Lease is 0", g.LeaseUntil)
		}
	} else if latest := g.at.Add(a.caps.Lease + e.h.Precision); !g.LeaseUntil.After(g.at) || g.LeaseUntil.After(latest) {
		e.Errorf("LeaseUntil is %v after Receive returned; want more than 0 and at most Capabilities.Lease, %v",
			g.LeaseUntil.Sub(g.at), a.caps.Lease)
	}
	if g.Session != nil && g.Session.Cause() != nil {
		e.Errorf("the session has ended before anything happened: %v", g.Session.Cause())
	}
	g.ack()
}

// A Receive whose context is cancelled returns soon, with that context's error.
func receiveCancelled(e *env) {
	a := e.queue().consumer()
	p := a.start(3*e.h.Patience, broker.Credit{Messages: 1, Bytes: plenty})
	if p.returns(e.h.Quiet) {
		_, err := p.result()
		e.Fatalf("Receive on an empty queue returned, with error %v", err)
	}
	p.cancel()
	if _, err := p.result(); !errors.Is(err, context.Canceled) {
		e.Errorf("a cancelled Receive returned %v, want context.Canceled", err)
	}
}

// The same for a deadline, which passes during the call or before it.
func receiveTimesOut(e *env) {
	a := e.queue().consumer()
	for _, d := range []time.Duration{e.h.Quiet, 0} {
		p := a.start(d, broker.Credit{Messages: 1, Bytes: plenty})
		p.returns(d)
		if _, err := p.result(); !errors.Is(err, context.DeadlineExceeded) {
			e.Errorf("a Receive with a time limit of %v returned %v, want context.DeadlineExceeded", d, err)
		}
	}
}

// A message that is published after a cancelled Receive returned is not leased
// to nobody: the next Receive has it, long before a lease would end, and no
// attempt is spent.
func receiveAfterCancel(e *env) {
	q := e.queue()
	a := q.consumer()
	for i := range 3 {
		a.watch(e.h.Quiet/4, a)
		body := fmt.Sprintf("after %d", i)
		q.publish(plain(body))
		g := a.one()
		e.sameBodies("after a cancelled Receive", []*got{g}, body)
		wantUnspent(e, g)
		g.ack()
	}
}

// A message that arrives while a Receive is being cancelled is either returned
// by it or delivered by the next, long before a lease would end, and no attempt
// is spent.
func receiveDuringCancel(e *env) {
	q := e.queue()
	a := q.consumer()
	rounds := 12 // each costs a real broker one exchange or two
	if e.h.Bubble != nil {
		rounds = 100
	}
	for i := range rounds {
		p := a.start(3*e.h.Patience, broker.Credit{Messages: 1, Bytes: plenty})
		p.returns(time.Duration(i%3) * time.Millisecond)
		if i%2 == 0 {
			q.publish(plain("x"))
			p.cancel()
		} else {
			var wg sync.WaitGroup
			wg.Go(p.cancel)
			q.publish(plain("x"))
			wg.Wait()
		}
		gots, err := p.result()
		if err != nil {
			gots = a.receive(1)
		}
		wantUnspent(e, gots[0])
		ackAll(gots)
	}
	q.empty()
}

// wantUnspent fails if a message that no consumer was given has lost an attempt.
func wantUnspent(e *env, g *got) {
	e.Helper()
	if g.by.caps.ReleaseIsFree && g.Attempt != 1 {
		e.Errorf("Attempt is %d although nobody was given the message before", g.Attempt)
	}
}

// One goroutine waits in Receive while others settle, extend and ask for
// figures.
func callsWhileReceiveBlocks(e *env) {
	q := e.queue()
	a := q.consumer()
	q.publish(plain("held"))
	g := a.one()
	p := a.start(4*e.h.Patience, broker.Credit{Messages: 1, Bytes: plenty})
	p.returns(e.h.Quiet / 4)
	a.stats()
	if err := a.extend(e.longLease(), g); a.caps.Extends && err != nil {
		e.Errorf("Extend while Receive blocks: %v", err)
	}
	g.ack()
	if p.returns(0) {
		_, err := p.result()
		e.Fatalf("Receive returned during other calls, with error %v", err)
	}
	q.publish(plain("next"))
	gots, err := p.result()
	if err != nil {
		e.Fatalf("Receive: %v", err)
	}
	e.sameBodies("the blocked Receive", gots, "next")
	ackAll(gots)
}

// What Receive returned belongs to the caller: a later Receive reuses none of
// it, and overwriting the slice harms nothing.
func deliveriesStay(e *env) {
	q := e.queue()
	a := q.consumer()
	published := numbered(4)
	for _, m := range published {
		m.Headers.Add("body", string(m.Body))
	}
	q.publish(published...)
	credit := broker.Credit{Messages: 1, Bytes: plenty}
	var gots []*got
	for len(gots) < len(published) {
		p := a.start(e.h.Patience, credit)
		more, err := p.result()
		if err != nil {
			e.Fatalf("Receive: %v", err)
		}
		clear(p.ds)
		gots = append(gots, more...)
	}
	want := make(map[string]*broker.Message)
	for _, m := range published {
		want[m.ID] = m
	}
	for _, g := range gots {
		m := want[g.ID]
		if m == nil {
			e.Fatalf("ID %q was not published, or delivered twice", g.ID)
		}
		delete(want, g.ID)
		e.sameMessage("after later calls of Receive", a.caps, g.Message, m)
	}
	ackAll(gots)
	q.empty()
}
