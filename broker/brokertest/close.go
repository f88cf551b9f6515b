package brokertest

import (
	"context"
	"errors"
	"reflect"
	goruntime "runtime"
	"slices"
	"strings"

	"github.com/anyqueue/anyqueue/broker"
)

var closeCases = []testCase{
	{name: "CloseLeavesNoGoroutineBehind", promise: ownsItsResults, run: closeLeavesNoGoroutine, alone: true},
	{name: "CloseGivesBackWhatWasNeverReturned", promise: noSilentLoss, run: closeGivesBack},
	{name: "ALeasedMessageComesBackAfterItsConsumerClosed", promise: noSilentLoss, run: closeLosesNoLease},
	{name: "ReceiveAfterCloseSaysSo", promise: ownsItsResults, run: receiveAfterClose},
	{name: "CloseStopsWaitingWhenItsContextHasEnded", promise: ownsItsResults, run: closeWithEndedContext},
	{name: "ClosingOneConsumerLeavesOthersAlone", promise: ownsItsResults, run: closeLeavesOthersAlone},
}

// What an adapter had fetched and nobody was given is there for others at once,
// and has lost no attempt.
func closeGivesBack(e *env) {
	q := e.queue()
	a := q.consumer()
	q.publish(numbered(10)...)
	first := a.poll(e.h.Patience, broker.Credit{Messages: 1, Bytes: plenty}, a)
	if len(first) != 1 {
		e.Fatalf("got %d messages for a credit of 1 within %v", len(first), e.h.Patience)
	}
	first[0].ack()
	a.close()
	b := q.consumer()
	rest := b.receive(9)
	for _, g := range rest {
		wantUnspent(e, g)
	}
	ackAll(rest)
	q.empty()
}

// A delivery that was never settled outlives Close as a lease does, and then
// comes back.
func closeLosesNoLease(e *env) {
	q := e.queue(e.leased)
	a := q.consumer()
	q.publish(numbered(2)...)
	held := a.receive(2)
	e.needsLoss(held[0])
	a.close()
	q.consumer()
	var back []*got
	for len(back) < 2 {
		g := q.afterLoss(held[0])
		g.ack()
		back = append(back, g)
	}
	e.sameBodies("after Close with two leased", back, "message 0", "message 1")
	for _, g := range back {
		if early := held[0].LeaseUntil.Sub(g.at); held[0].Session == nil && early > e.h.Precision {
			e.Errorf("%q came back %v before its lease ended, on which no session has a hold", g.Body, early)
		}
	}
	q.empty()
}

// A Receive on a closed subscription says whose doing it is.
func receiveAfterClose(e *env) {
	q := e.queue()
	a := q.consumer()
	q.publish(plain("for others"))
	a.close()
	p := a.start(e.h.Patience, broker.Credit{Messages: 1, Bytes: plenty})
	gots, err := p.result()
	if len(gots) > 0 || !errors.Is(err, broker.ErrClosed) {
		e.Errorf("Receive after Close returned %d deliveries and error %v, want one that matches broker.ErrClosed", len(gots), err)
	}
	q.consumer()
	q.one().ack()
}

// Close does not wait for a broker longer than it is told to.
func closeWithEndedContext(e *env) {
	q := e.queue()
	a := q.consumer()
	q.publish(plain("held"))
	a.one()
	ctx, cancel := context.WithCancel(e.Context())
	cancel()
	a.gone = true
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = a.sub.Close(ctx) // it may report that it did not wait
	}()
	e.eventually("Close returns", func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
}

// Consumers share nothing that one could take from the others.
func closeLeavesOthersAlone(e *env) {
	q := e.queue()
	a, b := q.consumer(), q.consumer()
	q.publish(plain("held by another"))
	g := q.one() // by either: a broker may have one consumer active at a time
	if g.by == a {
		a, b = b, a
	}
	p := b.start(4*e.h.Patience, broker.Credit{Messages: 1, Bytes: plenty})
	a.close()
	if p.returns(e.h.Quiet) {
		_, err := p.result()
		e.Fatalf("the Receive of one consumer returned when another was closed, with error %v", err)
	}
	if err := g.try(broker.Settlement{Action: broker.Ack}); err != nil {
		e.Errorf("ack by one consumer after another was closed: %v", err)
	}
	q.publish(plain("still there"))
	gots, err := p.result()
	if err != nil {
		e.Fatalf("Receive of one consumer after another was closed: %v", err)
	}
	e.sameBodies("the consumer that is left", gots, "still there")
	ackAll(gots)
}

// When everything is closed, nothing of the adapter runs any more.
func closeLeavesNoGoroutine(e *env) {
	before := goroutines("")
	q := e.queue()
	a := q.consumer()
	q.publish(numbered(3)...)
	ackAll(a.receive(3))
	a.watch(e.h.Quiet/4, a) // a cancelled Receive, too
	packages := slices.Compact([]string{packageOf(a.sub), packageOf(q.publisher)})
	a.close()
	if err := e.call(q.publisher.Close); err != nil {
		e.Errorf("Close of a publisher: %v", err)
	}
	var left []string
	for range 200 {
		left = left[:0]
		for _, pkg := range packages {
			for id, stack := range goroutines(pkg) {
				if _, old := before[id]; !old {
					left = append(left, stack)
				}
			}
		}
		if len(left) == 0 {
			return
		}
		e.sleep(e.h.Patience / 200)
	}
	e.Errorf("%d goroutines of %q are left %v after everything was closed:\n%s",
		len(left), packages, e.h.Patience, strings.Join(left, "\n\n"))
}

// packageOf returns the import path of the package that v's type belongs to.
func packageOf(v any) string {
	t := reflect.TypeOf(v)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath()
}

// goroutines returns the stacks of those that run code of a package, by their
// number; all with "".
func goroutines(pkg string) map[string]string {
	buf := make([]byte, 1<<20)
	for {
		n := goruntime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	found := make(map[string]string)
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if header, _, ok := strings.Cut(stack, " ["); ok && (pkg == "" || strings.Contains(stack, "\n"+pkg+".")) {
			found[header] = stack
		}
	}
	return found
}
