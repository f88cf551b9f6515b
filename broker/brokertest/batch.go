package brokertest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/anyqueue/anyqueue/broker"
)

var batchCases = []testCase{
	{name: "ABatchOfMixedSettlementsIsCarriedOutWhole", promise: noSilentLoss, run: batchMixed},
	{name: "ABatchNamesExactlyWhatFailed", promise: nothingHidden, run: batchNamesFailed},
	{name: "ABatchInWhichAllFailedSaysSo", promise: nothingHidden, run: batchAllFailed},
}

// One call takes up to MaxSettle settlements of any kinds together.
func batchMixed(e *env) {
	q := e.queue()
	a := q.consumer()
	actions := []broker.Action{broker.Ack, broker.Retry, broker.Release}
	if a.caps.DeadLetters {
		actions = append(actions, broker.DeadLetter)
	}
	n := min(a.caps.MaxSettle, 48)
	q.publish(numbered(n)...)
	batch := make([]broker.Settlement, n)
	want := make(map[broker.Action][]string)
	attempts := make(map[string]int)
	for i, g := range a.receive(n) {
		action := actions[i%len(actions)]
		s := settlement(g, action)
		s.Delivery = g.Delivery
		if action == broker.Retry {
			s.Attempt = 2 + i
		}
		batch[i] = s
		body := string(g.Body)
		want[action] = append(want[action], body)
		attempts[body] = s.Attempt
	}
	if err := a.settle(batch...); err != nil {
		e.Fatalf("settle %d messages at once, Capabilities.MaxSettle being %d: %v", n, a.caps.MaxSettle, err)
	}
	again := slices.Concat(want[broker.Retry], want[broker.Release])
	if len(again) > 0 {
		gots := q.receive(len(again))
		e.sameBodies("what was retried and released", gots, again...)
		for _, g := range gots {
			if w := attempts[string(g.Body)]; a.caps.CarriesAttempts && a.caps.ReleaseIsFree && g.Attempt != w {
				e.Errorf("Attempt of %q is %d, want %d", g.Body, g.Attempt, w)
			}
		}
		ackAll(gots)
	}
	q.empty()
	if dead := want[broker.DeadLetter]; len(dead) > 0 {
		ds := q.deadLetters().receive(len(dead))
		e.sameBodies("the dead-letter queue", ds, dead...)
		ackAll(ds)
	}
}

// A SettleError names the settlements that failed, by their place in the call,
// and no others; the others are done.
func batchNamesFailed(e *env) {
	q := e.queue()
	a := q.consumer()
	n := min(a.caps.MaxSettle, 8)
	e.needs(n >= 4, "batches of four: Capabilities.MaxSettle is lower")
	stale := []int{1, n - 2}
	q.publish(numbered(n)...)
	gots := a.receive(n)
	batch := make([]broker.Settlement, n)
	var released []string
	for i, g := range gots {
		action := broker.Ack
		switch {
		case slices.Contains(stale, i):
			g.ack()
		case i%2 == 0:
			action = broker.Release
			released = append(released, string(g.Body))
		}
		batch[i] = settlement(g, action)
		batch[i].Delivery = g.Delivery
	}
	err := a.settle(batch...)
	var named *broker.SettleError
	if !errors.As(err, &named) {
		e.Fatalf("settle %d messages of which two were settled before: error is %v, want a *broker.SettleError", n, err)
	}
	if is := indexes(named.Failed); !slices.Equal(is, stale) {
		e.Errorf("SettleError names %v, want %v", is, stale)
	}
	for _, f := range named.Failed {
		e.wantLost(fmt.Sprintf("settlement %d", f.Index), f.Err)
	}
	back := q.receive(len(released))
	e.sameBodies("what the same call released", back, released...)
	ackAll(back)
	q.empty()
}

// When nothing succeeded the error says that, however it is put.
func batchAllFailed(e *env) {
	q := e.queue()
	a := q.consumer()
	n := min(a.caps.MaxSettle, 5)
	q.publish(numbered(n)...)
	batch := make([]broker.Settlement, n)
	for i, g := range a.receive(n) {
		g.ack()
		batch[i] = settlement(g, broker.Release)
		batch[i].Delivery = g.Delivery
	}
	err := a.settle(batch...)
	e.wantLost("a batch in which everything was settled before", err)
	var named *broker.SettleError
	if errors.As(err, &named) && len(named.Failed) != n {
		e.Errorf("SettleError names %v of %d settlements, all of which failed", indexes(named.Failed), n)
	}
	q.empty()
}
