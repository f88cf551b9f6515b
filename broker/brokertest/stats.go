package brokertest

import (
	"fmt"
	"strings"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

var statsCases = []testCase{
	{name: "WhatStatsKnowIsTrue", promise: nothingHidden, run: statsAreTrue},
	{name: "OldestAgeCountsFromTheFirstPublication", promise: nothingHidden, run: oldestAge},
	{name: "AnEmptyQueueHasNoAge", promise: nothingHidden, run: emptyQueueHasNoAge},
}

// figures are what Stats should say; what the broker does not tell is not
// compared.
type figures struct{ ready, inFlight, delayed, dead int64 }

// wantStats waits until what is known of the queue is right: brokers count
// approximately, but not for long.
func (c *consumer) wantStats(when string, want figures) {
	c.Helper()
	var wrong string
	for deadline := time.Now().Add(c.h.Patience); ; c.sleep(c.h.Patience / 200) {
		s := c.stats()
		var faults []string
		for _, f := range []struct {
			field string
			have  broker.Value[int64]
			want  int64
		}{
			{"Ready", s.Ready, want.ready},
			{"InFlight", s.InFlight, want.inFlight},
			{"Delayed", s.Delayed, want.delayed},
			{"DeadLetters", s.DeadLetters, want.dead},
		} {
			if have, known := f.have.Get(); known && have != f.want {
				faults = append(faults, fmt.Sprintf("%s is %d, want %d or unknown", f.field, have, f.want))
			}
		}
		wrong = strings.Join(faults, "; ")
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			c.Errorf("Stats %s: %s", when, wrong)
			return
		}
	}
}

// Each known figure is right as a message goes its way; an unknown one is
// unknown, not 0.
func statsAreTrue(e *env) {
	q := e.queue()
	a := q.consumer()
	a.wantStats("of an empty queue", figures{})
	q.publish(numbered(4)...)
	a.wantStats("after publishing four messages", figures{ready: 4})
	gots := a.receive(4)
	a.wantStats("after receiving them", figures{inFlight: 4})
	want := figures{inFlight: 4}
	if a.caps.DeadLetters {
		gots[0].deadLetter(record("counted"))
		want.inFlight--
		want.dead++
		a.wantStats("after one dead letter", want)
	}
	gots[1].ack()
	want.inFlight--
	a.wantStats("after one ack", want)
	gots[2].release(0)
	want.inFlight--
	want.ready++
	a.wantStats("after one release", want)
	if a.caps.MaxDelay >= 4*e.h.Delay {
		gots[3].retry(4 * e.h.Delay)
		want.inFlight--
		want.delayed++
		a.wantStats("after one retry with a delay", want)
	}
}

// wantAge waits until the age of the oldest message is right, if it is known.
func (c *consumer) wantAge(when string, published time.Time) {
	c.Helper()
	for deadline := time.Now().Add(c.h.Patience); ; c.sleep(c.h.Patience / 200) {
		least := time.Since(published) - c.h.Precision
		age, known := c.stats().OldestAge.Get()
		if !known || age >= least && age <= least+2*c.h.Precision+c.h.Patience {
			return
		}
		if time.Now().After(deadline) {
			c.Errorf("Stats %s: OldestAge is %v, want %v or unknown", when, age, least)
			return
		}
	}
}

// The age of a queue is how long somebody has waited: since the message was
// first published, whatever became of it since, until it is done.
func oldestAge(e *env) {
	q := e.queue()
	a := q.consumer()
	young, old := plain("young"), plain("old")
	old.PublishedAt = time.Now().UTC().Add(-time.Hour).Truncate(time.Millisecond)
	q.publish(young)
	q.publish(old)
	a.wantAge("after publishing what is an hour old", old.PublishedAt)
	gots := a.receive(2)
	a.wantAge("when all is in flight", old.PublishedAt)
	for i := range gots {
		gots[i].retry(0)
	}
	gots = a.receive(2)
	a.wantAge("after a retry", old.PublishedAt)
	for _, g := range gots {
		if string(g.Body) == "old" {
			g.ack()
		}
	}
	a.wantAge("when only the young one is left", young.PublishedAt)
}

// Where nothing waits, nobody has waited: 0 or unknown.
func emptyQueueHasNoAge(e *env) {
	q := e.queue()
	a := q.consumer()
	m := plain("done")
	m.PublishedAt = time.Now().UTC().Add(-time.Hour)
	q.publish(m)
	a.one().ack()
	e.eventually("OldestAge of an empty queue is 0 or unknown", func() bool {
		age, known := a.stats().OldestAge.Get()
		return !known || age == 0
	})
}
