package brokertest

import (
	"fmt"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

var deadLetterCases = []testCase{
	{name: "ADeadLetterIsTheMessageByteForByte", promise: deadLetters, run: deadLetterIsTheMessage},
	{name: "ADeadLetterSaysWhy", promise: deadLetters, run: deadLetterSaysWhy},
	{name: "ADeadLetterIsInItsQueueOnceAndNowhereElse", promise: noSilentLoss, run: deadLetterIsOnce},
	{name: "ADeadLetterKeepsItsRecordWhenItIsGivenBack", promise: deadLetters, run: deadLetterKeepsItsRecord},
	{name: "ADeadLetterOutlivesItsConsumer", promise: noSilentLoss, run: deadLetterOutlivesConsumer},
	{name: "WithoutAPlaceForDeadLettersNothingIsLost", promise: noSilentLoss, run: noPlaceForDeadLetters},
}

// deadLetterQueue makes a queue with a consumer of each side.
func (e *env) deadLetterQueue() (q *queue, a, dead *consumer) {
	e.Helper()
	q = e.queue()
	a = q.consumer()
	e.needs(a.caps.DeadLetters, "a place for dead letters: Capabilities.DeadLetters is false")
	dead = q.deadLetters()
	return q, a, dead
}

// A dead letter has the body, the headers and every field that were published.
func deadLetterIsTheMessage(e *env) {
	q, a, dead := e.deadLetterQueue()
	for _, retries := range []int{0, 2} {
		m := rich()
		m.ID = fmt.Sprintf("%s after %d retries", m.ID, retries)
		want := m.Clone()
		q.publish(m)
		g := a.one()
		for range retries {
			g.retry(0)
			g = a.one()
		}
		g.deadLetter(record("hopeless"))
		d := dead.one()
		e.sameMessage(fmt.Sprintf("a dead letter after %d retries", retries), a.caps, d.Message, want)
		d.ack()
	}
}

// A dead letter carries the whole record that it was settled with.
func deadLetterSaysWhy(e *env) {
	q, a, dead := e.deadLetterQueue()
	q.publish(plain("hopeless"))
	g := a.one()
	g.settled(broker.Settlement{Action: broker.Retry, Attempt: 2, Failure: record("an earlier failure")})
	why := record("the last straw")
	a.one().deadLetter(why)
	d := dead.one()
	e.sameRecord("a dead letter", d.Failure, why)
	d.ack()
}

// A dead letter has left its queue, is in the dead-letter queue once, and when
// acknowledged there is gone.
func deadLetterIsOnce(e *env) {
	q, a, dead := e.deadLetterQueue()
	q.publish(numbered(4)...)
	for _, g := range a.receive(4) {
		g.deadLetter(record(string(g.Body)))
	}
	q.empty()
	ds := dead.receive(4)
	e.sameBodies("the dead-letter queue", ds, "message 0", "message 1", "message 2", "message 3")
	for _, d := range ds {
		e.sameRecord("dead letter of "+string(d.Body), d.Failure, record(string(d.Body)))
	}
	dead.watch(e.h.Quiet, dead)
	ackAll(ds)
	dead.watch(e.h.Quiet, dead)
	q.empty()
}

// Who looks at a dead letter and gives it back takes nothing away.
func deadLetterKeepsItsRecord(e *env) {
	q, a, dead := e.deadLetterQueue()
	q.publish(plain("looked at"))
	why := record("hopeless")
	a.one().deadLetter(why)
	for range 3 {
		d := dead.one()
		e.sameRecord("a dead letter that was given back", d.Failure, why)
		d.release(0)
	}
	dead.one().ack()
}

// A dead letter waits for somebody to read it, also when the consumer that made
// it is gone.
func deadLetterOutlivesConsumer(e *env) {
	q := e.queue()
	a := q.consumer()
	e.needs(a.caps.DeadLetters, "a place for dead letters: Capabilities.DeadLetters is false")
	q.publish(plain("left behind"))
	a.one().deadLetter(record("hopeless"))
	a.close()
	d := q.deadLetters().one()
	e.sameBodies("the dead-letter queue", []*got{d}, "left behind")
	d.ack()
	q.consumer()
	q.empty()
}

// Where there is no place for it, a dead letter is an error, and the message
// stays where it was.
func noPlaceForDeadLetters(e *env) {
	q := e.queue(func(s *QueueSpec) { s.NoDeadLetters = true })
	a := q.consumer()
	e.needs(!a.caps.DeadLetters, "a queue without a place for dead letters: Capabilities.DeadLetters is true")
	q.publish(plain("nowhere to go"))
	g := a.one()
	err := g.try(broker.Settlement{Action: broker.DeadLetter, Failure: record("hopeless")})
	if err == nil {
		e.Fatalf("a dead letter without a place for it was reported as settled")
	}
	e.Logf("the error is: %v", err)
	g.settled(broker.Settlement{Action: broker.Retry, Attempt: 2})
	q.comesBack(time.Now(), 0).ack()
}
