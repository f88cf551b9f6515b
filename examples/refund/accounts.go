package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/runtime"
)

// accounts follows every message of this run from its publication to its end,
// by its ID. That is how the job knows when it is done, on any broker, and how it
// can prove afterwards that nothing was lost.
type accounts struct {
	run string // begins every ID, so that messages of other runs are recognised

	mu      sync.Mutex
	entries []account
	copies  int           // messages to be finished, duplicates included
	acked   int           // of those, the ones that were acknowledged
	oldest  time.Duration // greatest age of an acknowledged message

	// strangers is how many messages of others were dead-lettered. One that comes
	// again before its dead letter is safe is counted again.
	strangers atomic.Int64
}

// account is one message ID.
type account struct {
	// expect is the class of the dead letter that it must become; "" when it must
	// be answered.
	expect failure.Class
	copies int32 // how often it is published
	acked  int32 // how often it was acknowledged, at most copies
	answer answer
}

// answer is what a requester was told.
type answer uint8

const (
	unanswered answer = iota
	paid
	declined
)

var errNotOurs = errors.New("the message was not published by this run of the job, which knows nothing of its order")

func newAccounts(run string) *accounts { return &accounts{run: run} }

// open makes an account for a message that is about to be published, and returns
// its number.
func (a *accounts) open(expect failure.Class) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.entries = append(a.entries, account{expect: expect, copies: 1})
	a.copies++
	return len(a.entries) - 1
}

// again says that the message is about to be published once more.
func (a *accounts) again(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.entries[n].copies++
	a.copies++
}

// id is the message ID of an account.
func (a *accounts) id(n int) string { return a.run + "-" + strconv.Itoa(n) }

// number is the reverse; false when the ID is not of this run. Lock held.
func (a *accounts) number(id string) (int, bool) {
	tail, ours := strings.CutPrefix(id, a.run+"-")
	n, err := strconv.Atoi(tail)
	return n, ours && err == nil && n >= 0 && n < len(a.entries)
}

// answered notes what a requester was told.
func (a *accounts) answered(id string, what answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n, ok := a.number(id); ok {
		a.entries[n].answer = what
	}
}

// middleware is the outermost of the chain: it sees what will be acknowledged.
// Messages that somebody else left in the queue are none of our business, and go
// where somebody can look at them.
func (a *accounts) middleware() runtime.Middleware {
	return runtime.Middleware{Name: "accounts", Wrap: func(next runtime.Handler) runtime.Handler {
		return func(ctx context.Context, d *broker.Delivery) error {
			if !a.knows(d.ID) {
				a.strangers.Add(1)
				return runtime.DeadLetter(failure.Data(errNotOurs))
			}
			err := next(ctx, d)
			if outcome, explicit := errors.AsType[*runtime.Outcome](err); err == nil || explicit && outcome.Action == broker.Ack {
				a.finished(d)
			}
			return err
		}
	}}
}

// willBeAnswered says whether the message is one that gets an answer, not one that
// becomes a dead letter.
func (a *accounts) willBeAnswered(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, ok := a.number(id)
	return ok && a.entries[n].expect == ""
}

// knows says whether the message is of this run.
func (a *accounts) knows(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.number(id)
	return ok
}

// finished counts an acknowledgement. A message that the broker delivers again
// after it was acknowledged is not counted twice.
func (a *accounts) finished(d *broker.Delivery) {
	age := time.Since(d.PublishedAt)
	a.mu.Lock()
	defer a.mu.Unlock()
	n, _ := a.number(d.ID)
	if e := &a.entries[n]; e.acked < e.copies {
		e.acked++
		a.acked++
	}
	a.oldest = max(a.oldest, age)
}

// totals returns how many messages there are to finish and how many of them were
// acknowledged.
func (a *accounts) totals() (copies, acked int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.copies, a.acked
}

// oldestAge is how old a message was at most when it was acknowledged.
func (a *accounts) oldestAge() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.oldest
}

// unfinished returns the IDs of messages that are neither acknowledged nor among
// the dead letters.
func (a *accounts) unfinished(dead *deadLetters) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ids []string
	for n, e := range a.entries {
		if id := a.id(n); int(e.acked)+dead.count(id) < int(e.copies) {
			ids = append(ids, id)
		}
	}
	return ids
}

// each calls f for every account. Only for when the job has ended.
func (a *accounts) each(f func(id string, e account)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n, e := range a.entries {
		f(a.id(n), e)
	}
}
