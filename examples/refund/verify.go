package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/runtime"
)

// outcome is what there is when the consumer has drained.
type outcome struct {
	orders   *orderBook
	payments *payments
	accounts *accounts

	sent       int64 // messages published, duplicates included
	duplicates int64 // messages that Dedupe acknowledged
	openings   int64 // how often the breaker opened
	ledger     runtime.Ledger
	failures   map[failure.Class]runtime.FailureCount
	dead       *deadLetters
	elapsed    time.Duration
	// stopped is why the run ended before all was done; nil when it did not. Then
	// nothing is claimed about what is complete, only about what must never be.
	stopped error
}

// verify returns every invariant that is broken, by name. They are judged by what
// others recorded: the bank's statement, the shop's orders, the queue's dead
// letters.
func (o *outcome) verify() error {
	return errors.Join(
		o.verifyRefunds(),
		o.verifyAccounts(),
		o.verifyLedger(),
	)
}

// broken makes the error of an invariant from what contradicts it; nil when
// nothing does.
func broken(invariant string, evidence []string) error {
	if len(evidence) == 0 {
		return nil
	}
	slices.Sort(evidence)
	n := len(evidence)
	if n > 3 {
		evidence = append(evidence[:3], fmt.Sprintf("and %d more", n-3))
	}
	return fmt.Errorf("broken invariant: %s: %s", invariant, strings.Join(evidence, "; "))
}

// verifyRefunds compares the bank's statement with the orders.
func (o *outcome) verifyRefunds() error {
	var over, undue, missing, differ []string
	bank := map[string]int{}
	o.payments.statement(func(order string, amount int) {
		bank[order] = amount
		if amount > price {
			over = append(over, fmt.Sprintf("%s was refunded %d of %d", order, amount, price))
		}
	})
	o.orders.each(func(id string, x order) {
		got := bank[id]
		delete(bank, id)
		switch {
		case got > 0 && !x.refundable:
			undue = append(undue, fmt.Sprintf("%s was refunded %d", id, got))
		case got < price && x.refundable:
			missing = append(missing, fmt.Sprintf("%s was refunded %d of %d", id, got, price))
		}
		// A payment may be made and not yet entered when the job is stopped.
		if x.refundedBy != "" && got == 0 || x.refundedBy == "" && got > 0 && o.stopped == nil {
			differ = append(differ, fmt.Sprintf("%s: the bank paid %d, the order says %q", id, got, x.refundedBy))
		}
	})
	for id, amount := range bank {
		undue = append(undue, fmt.Sprintf("%s does not exist and was refunded %d", id, amount))
	}
	if o.stopped != nil {
		missing = nil
	}
	return errors.Join(
		broken("no order is refunded twice", over),
		broken("an order that cannot be refunded is not", undue),
		broken("every order that can be refunded is", missing),
		broken("the orders say what the bank says", differ),
	)
}

// verifyAccounts looks at every message's end.
func (o *outcome) verifyAccounts() error {
	var lost, wrong, unsaid []string
	answers := map[answer]int{}
	again := int64(0)
	o.accounts.each(func(id string, e account) {
		dead, isDead := o.dead.byID[id]
		answers[e.answer]++
		switch {
		case isDead && dead.class != e.expect:
			wrong = append(wrong, fmt.Sprintf("message %s is a dead letter of class %s, expected %s", id, dead.class, orAnswer(e.expect)))
		case o.stopped != nil:
		case int(e.acked)+dead.copies < int(e.copies):
			lost = append(lost, fmt.Sprintf("message %s was published %d times, acknowledged %d times and dead-lettered %d times", id, e.copies, e.acked, dead.copies))
		case e.expect != "" && !isDead:
			wrong = append(wrong, fmt.Sprintf("message %s was acknowledged, expected %s", id, orAnswer(e.expect)))
		case e.expect == "" && e.answer == unanswered:
			unsaid = append(unsaid, fmt.Sprintf("message %s was acknowledged and its requester never answered", id))
		}
		if e.expect == "" {
			again += int64(e.copies) - 1
		}
	})
	errs := []error{
		broken("every message is acknowledged or dead-lettered", lost),
		broken("dead letters are those that must be, with their class", wrong),
		broken("every request is answered", unsaid),
	}
	if o.stopped != nil {
		return errors.Join(errs...)
	}
	if payouts := o.payments.total(); answers[paid] != payouts {
		errs = append(errs, fmt.Errorf("broken invariant: one requester is told of each refund: %d refunds, %d told", payouts, answers[paid]))
	}
	if o.duplicates < again {
		errs = append(errs, fmt.Errorf("broken invariant: duplicates are suppressed: %d were published, %d recognised", again, o.duplicates))
	}
	return errors.Join(errs...)
}

func orAnswer(c failure.Class) string {
	if c == "" {
		return "an answer"
	}
	return "a dead letter of class " + string(c)
}

// verifyLedger looks at the consumer's own account of its deliveries.
func (o *outcome) verifyLedger() error {
	l := o.ledger
	var errs []error
	if !l.Balanced() {
		errs = append(errs, fmt.Errorf("broken invariant: the ledger balances: %+v", l))
	}
	if l.InFlight != 0 {
		errs = append(errs, fmt.Errorf("broken invariant: nothing is in flight after the drain: %d are", l.InFlight))
	}
	return errors.Join(errs...)
}
