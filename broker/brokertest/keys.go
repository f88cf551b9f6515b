package brokertest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

var keyCases = []testCase{
	{name: "AKeyIsDeliveredInOrderToOneConsumerAtATime", promise: keyOrder, run: keyInOrder},
	{name: "AHeldMessageHoldsBackItsOwnKeyAlone", promise: keyOrder, run: keyHeldBackAlone},
	{name: "ManyKeysAreDeliveredAtOnce", promise: keyOrder, run: keysInParallel},
	{name: "AReleaseKeepsTheOrderOfItsKey", promise: keyOrder, run: keyOrderAfterRelease},
	{name: "ARetryKeepsTheOrderOfItsKey", promise: keyOrder, run: keyOrderAfterRetry},
	{name: "ALostLeaseKeepsTheOrderOfItsKey", promise: keyOrder, run: keyOrderAfterLoss},
	{name: "ADeadLetterLetsItsKeyGoOn", promise: keyOrder, run: keyAfterDeadLetter},
	{name: "MessagesWithoutAKeyHoldBackNobody", promise: backpressure, run: noKeyHoldsBackNobody},
}

// orderedQueue makes a queue that keeps the order of keys, with two consumers.
func (e *env) orderedQueue(set ...func(*QueueSpec)) (q *queue, a, b *consumer) {
	e.Helper()
	q = e.queue(append(set, e.ordered)...)
	a, b = q.consumer(), q.consumer()
	e.needs(a.caps.KeyOrder, "the order of keys: Capabilities.KeyOrder is false")
	return q, a, b
}

// lanes checks deliveries against the order of their keys. A consumer may be
// given what follows a message that it holds, in order: brokers hand out runs
// of a key. Nobody else may.
type lanes struct {
	*env
	held map[string][]*got // by key, oldest first
	done map[string]int    // by key, how many were acknowledged
}

func (e *env) lanes() *lanes {
	return &lanes{env: e, held: make(map[string][]*got), done: make(map[string]int)}
}

// took checks a delivery and counts it as held.
func (l *lanes) took(g *got) {
	l.Helper()
	held := l.held[g.Key]
	if want := fmt.Sprintf("%s %d", g.Key, l.done[g.Key]+len(held)); string(g.Body) != want {
		l.Errorf("key %q: %q was delivered, %q is next", g.Key, g.Body, want)
	}
	if len(held) > 0 && held[0].by != g.by {
		l.Errorf("key %q: %q was delivered to one consumer while another held %q", g.Key, g.Body, held[0].Body)
	}
	l.held[g.Key] = append(held, g)
}

// ack acknowledges the oldest held message of a key.
func (l *lanes) ack(key string) {
	l.Helper()
	l.held[key][0].ack()
	l.held[key] = l.held[key][1:]
	l.done[key]++
}

// drain receives and acknowledges until n messages in all are done.
func (l *lanes) drain(q *queue, n int) {
	l.Helper()
	for {
		total := 0
		for key := range l.held {
			for len(l.held[key]) > 0 {
				l.ack(key)
			}
			total += l.done[key]
		}
		if total >= n || l.Failed() {
			return
		}
		gots := q.poll(q.h.Patience, broker.Credit{Messages: 3, Bytes: plenty}, q.open()...)
		if len(gots) == 0 {
			l.Fatalf("%d of %d messages are done, and no other is delivered within %v", total, n, q.h.Patience)
		}
		for _, g := range gots {
			l.took(g)
		}
	}
}

// Two consumers that take turns, and hold some messages while they acknowledge
// others, see each key in order, one of them at a time.
func keyInOrder(e *env) {
	q, a, b := e.orderedQueue()
	const each = 6
	keys := []string{"a", "b", "c"}
	for i := range each {
		for _, key := range keys {
			q.publish(keyed(key, each)[i])
		}
	}
	l := e.lanes()
	random := rand.New(rand.NewPCG(1, 2))
	moved := time.Now()
	for turn, total := 0, 0; total < each*len(keys) && !e.Failed(); turn++ {
		c := []*consumer{a, b}[turn%2]
		// A short wait: perhaps all that is left is held back, or for the other one.
		gots := c.poll(e.h.Quiet/4, broker.Credit{Messages: 2, Bytes: plenty}, c)
		for _, g := range gots {
			l.took(g)
		}
		for _, key := range keys {
			if len(l.held[key]) > 0 && random.IntN(3) == 0 {
				l.ack(key)
				total++
				moved = time.Now()
			}
		}
		if len(gots) > 0 {
			moved = time.Now()
		} else if time.Since(moved) > e.h.Patience+e.h.Quiet {
			e.Fatalf("%d of %d messages are done, and no other is delivered within %v", total, each*len(keys), e.h.Patience)
		}
	}
	q.empty()
}

// While the head of a key is held, the rest of that key waits, and other keys do
// not.
func keyHeldBackAlone(e *env) {
	q, _, _ := e.orderedQueue()
	l := e.lanes()
	q.publish(keyed("slow", 3)...)
	head := q.one()
	l.took(head)
	q.publish(keyed("fast", 3)...)
	for deadline := time.Now().Add(e.h.Patience); l.done["fast"] < 3; {
		if time.Now().After(deadline) {
			e.Fatalf("a held message of one key held back another key for %v", e.h.Patience)
		}
		for _, g := range q.poll(e.h.Patience, broker.Credit{Messages: 1, Bytes: plenty}, q.open()...) {
			l.took(g)
		}
		if len(l.held["fast"]) > 0 {
			l.ack("fast")
		}
	}
	for _, g := range q.poll(e.h.Quiet, broker.Credit{Messages: 10, Bytes: plenty}, q.open()...) {
		l.took(g)
	}
	l.drain(q, 6)
	q.empty()
}

// The heads of many keys can be held at the same time.
func keysInParallel(e *env) {
	q, _, _ := e.orderedQueue()
	const keys = 20
	for i := range keys {
		q.publish(keyed(fmt.Sprintf("key-%d", i), 2)...)
	}
	l := e.lanes()
	for len(l.held) < keys {
		gots := q.poll(e.h.Patience, broker.Credit{Messages: 2 * keys, Bytes: plenty}, q.open()...)
		if len(gots) == 0 {
			e.Fatalf("the heads of %d of %d keys are held, and no other is delivered within %v", len(l.held), keys, e.h.Patience)
		}
		for _, g := range gots {
			l.took(g)
		}
	}
	l.drain(q, 2*keys)
	q.empty()
}

// What was released comes before what was not yet delivered, in its order: a
// run of one key is released in one call.
func keyOrderAfterRelease(e *env) {
	q, a, b := e.orderedQueue()
	q.publish(keyed("k", 4)...)
	for _, c := range []*consumer{a, b, a} {
		var run []broker.Settlement
		l := e.lanes()
		for _, g := range c.poll(e.h.Patience, broker.Credit{Messages: min(3, c.caps.MaxSettle), Bytes: plenty}, q.open()...) {
			l.took(g)
			s := settlement(g, broker.Release)
			s.Delivery = g.Delivery
			run = append(run, s)
			c = g.by
		}
		if len(run) == 0 {
			e.Fatalf("a released message has not come back within %v", e.h.Patience)
		}
		if err := c.settle(run...); err != nil {
			e.Fatalf("release %d messages of one key: %v", len(run), err)
		}
	}
	e.lanes().drain(q, 4)
	q.empty()
}

// A message that is retried through the broker keeps its place: what follows in
// its key waits out the delay with it, other keys do not.
func keyOrderAfterRetry(e *env) {
	q, a, _ := e.orderedQueue()
	e.needs(a.caps.DelayKeepsOrder, "delays that keep the order of keys: Capabilities.DelayKeepsOrder is false")
	q.publish(keyed("slow", 3)...)
	slow, fast := e.lanes(), e.lanes()
	began := q.one().retry(2 * e.h.Delay)
	q.publish(keyed("fast", 2)...)
	fast.drain(q, 2)
	back := q.comesBack(began, 2*e.h.Delay)
	slow.took(back)
	slow.ack("slow")
	next := q.one()
	slow.took(next)
	slow.held["slow"] = slow.held["slow"][1:]
	next.retry(0)
	slow.drain(q, 3)
	q.empty()
}

// A message whose lease ran out keeps its place.
func keyOrderAfterLoss(e *env) {
	q, a, b := e.orderedQueue(e.leased)
	lease := a.needsLease()
	q.publish(keyed("k", 3)...)
	head := a.one()
	gots := b.poll(lease+e.h.Patience, broker.Credit{Messages: 1, Bytes: plenty}, b)
	if len(gots) == 0 || string(gots[0].Body) != "k 0" {
		e.Fatalf("after the lease of %q ran out another consumer got this, want that message again%s", head.Body, bodies(gots))
	}
	l := e.lanes()
	l.took(gots[0])
	l.drain(q, 3)
	q.empty()
}

// A message that is dead-lettered holds back nothing any more.
func keyAfterDeadLetter(e *env) {
	q, a, _ := e.orderedQueue()
	e.needs(a.caps.DeadLetters, "a place for dead letters: Capabilities.DeadLetters is false")
	q.publish(keyed("k", 3)...)
	l := e.lanes()
	head := q.one()
	l.took(head)
	head.deadLetter(record("hopeless"))
	l.held["k"] = slices.Delete(l.held["k"], 0, 1)
	l.done["k"]++
	l.drain(q, 3)
	q.empty()
}

// A message without a key has no order: holding one holds back no other.
func noKeyHoldsBackNobody(e *env) {
	q := e.queue(e.ordered)
	a := q.consumer()
	q.publish(numbered(5)...)
	ackAll(a.receive(5)) // all of them held at once
	q.empty()
}
