package main

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

// What a job cannot bring about by itself is found all the same: each case makes
// one figure of a good outcome wrong.
func TestWrongFigureIsNamed(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*outcome)
		want   string
	}{
		"nothing is wrong":            {func(*outcome) {}, ""},
		"a delivery without an end":   {func(o *outcome) { o.ledger.Acked-- }, "the ledger balances"},
		"something is left in flight": {func(o *outcome) { o.ledger.Acked--; o.ledger.InFlight++ }, "nothing is in flight after the drain"},
		"a message is lost": {func(o *outcome) {
			i := slices.IndexFunc(o.accounts.entries, func(a account) bool { return a.expect == "" })
			o.accounts.entries[i].acked--
		}, "every message is acknowledged or dead-lettered"},
		"a refund of which nobody was told": {func(o *outcome) { o.payments.payouts++ }, "one requester is told of each refund"},
		"money for an order that is none":   {func(o *outcome) { o.payments.paid["S-x"] = price }, "an order that cannot be refunded is not"},
		"a dead letter of another class": {func(o *outcome) {
			for id, d := range o.dead.byID {
				d.class = failure.ClassCrash
				o.dead.byID[id] = d
				return
			}
		}, "dead letters are those that must be"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := do(t, t.Context(), newJob(t, 20, 2))
				tt.change(o)
				switch err := o.verify(); {
				case tt.want == "" && err != nil:
					t.Errorf("verify = %v", err)
				case tt.want != "" && (err == nil || !strings.Contains(err.Error(), "broken invariant: "+tt.want)):
					t.Errorf("verify = %v, want %q", err, tt.want)
				}
			})
		})
	}
}

// leaky enters everything that its source yields and publishes all but one.
type leaky struct{ source }

func (l leaky) batches() iter.Seq2[[]*broker.Message, error] {
	return func(yield func([]*broker.Message, error) bool) {
		lost := false
		for batch, err := range l.source.batches() {
			if !lost {
				batch, lost = batch[1:], true
			}
			if !yield(batch, err) {
				return
			}
		}
	}
}

// A message that never arrives keeps the job from being done: it does not take an
// empty queue for the end.
func TestJobIsNotDoneWhileAMessageIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJob(t, 20, 1)
		made := j.source
		j.source = func(d desk) source { return leaky{made(d)} }
		o := do(t, t.Context(), j)
		if !errors.Is(o.stopped, errTooLong) || !strings.Contains(o.stopped.Error(), "1 messages are neither") {
			t.Errorf("stopped = %v", o.stopped)
		}
	})
}

// The dead-letter queue is read whole, grouped by class and fingerprint, and left
// as it was.
func TestSweepGroupsDeadLettersAndLeavesThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New(memory.Options{})
		defer b.Close()
		if err := b.Declare(memory.Queue{Name: "q"}); err != nil {
			t.Fatal(err)
		}
		consumed, err := b.Subscribe("q", memory.SubscribeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"our-1", "our-2", "our-3", "their-1"} {
			bury(t, b, consumed, id)
		}
		sub, err := b.Subscribe("q.dlq", memory.SubscribeOptions{MaxSettle: 2})
		if err != nil {
			t.Fatal(err)
		}
		mine := func(id string) bool { return strings.HasPrefix(id, "our-") }
		for range 2 { // the second time shows that the first left everything
			start := time.Now()
			dead, err := sweep(t.Context(), sub, mine, 4) // one more than there are of ours
			if err != nil {
				t.Fatal(err)
			}
			if len(dead.groups) != 1 || dead.groups[0].Count != 3 || dead.groups[0].Class != failure.ClassData || dead.groups[0].Example != "no good" {
				t.Errorf("groups: %+v", dead.groups)
			}
			if dead.count("our-2") != 1 || dead.count("their-1") != 0 {
				t.Errorf("found: %+v", dead.byID)
			}
			if took := time.Since(start); took != sweepQuiet {
				t.Errorf("it took %s, want %s of quiet", took, sweepQuiet)
			}
		}
		left, err := b.Messages("q.dlq")
		if err != nil || len(left) != 4 || slices.ContainsFunc(left, func(s memory.Stored) bool { return s.State != memory.Ready }) {
			t.Errorf("left: %+v, %v", left, err)
		}
	})
}

// bury publishes a message and dead-letters it.
func bury(t *testing.T, b *memory.Broker, sub *memory.Subscription, id string) {
	t.Helper()
	err := b.Publisher().Publish(t.Context(), "q", &broker.Message{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	ds, err := sub.Receive(t.Context(), broker.Credit{Messages: 1, Bytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	record := failure.Next(nil, failure.Observation{Err: failure.Data(errors.New("no good")), Attempt: 1, At: time.Now()})
	err = sub.Settle(context.WithoutCancel(t.Context()), []broker.Settlement{{Delivery: &ds[0], Action: broker.DeadLetter, Failure: record}})
	if err != nil {
		t.Fatal(err)
	}
}

// A report of a good run names no broken invariant, and one of a run with
// retries names their classes.
func TestReportNamesRetriesByClass(t *testing.T) {
	o := &outcome{
		orders: newOrderBook(), payments: newPayments(trouble{}), accounts: newAccounts("x"), dead: &deadLetters{},
		failures: map[failure.Class]runtime.FailureCount{failure.ClassTimeout: {Retried: 2}, failure.ClassBug: {Retried: 1}, failure.ClassData: {DeadLettered: 9}},
	}
	var text strings.Builder
	if err := newReport(o, nil).write(&text); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "retries                       3   bug 1, timeout 2\n") {
		t.Errorf("report:\n%s", text.String())
	}
}
