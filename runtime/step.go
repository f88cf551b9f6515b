package runtime

import (
	"context"
	"time"

	"github.com/anyqueue/anyqueue/failure"
)

// maxStepWait is the longest that Step waits inside the handler, where a worker
// is taken meanwhile.
const maxStepWait = 2 * time.Second

// Step runs fn, and runs it again when it fails, out of the message's one retry
// budget: each failure but the last spends an attempt, with the policy's backoff
// between them. Use it for a step that may be repeated alone, so that what the
// handler did before is not done again, and so that retries inside the handler
// and around it do not multiply.
//
// It returns fn's error when the budget is spent, the class is not to be retried,
// the wait would be longer than 2 s, or ctx has ended; return that error from the
// handler, and the runtime goes on from there with the same count. An error that
// holds an [Outcome] is returned at once. Outside of a handler's context fn runs
// once. Step is safe for concurrent use.
func Step(ctx context.Context, fn func(ctx context.Context) error) error {
	a, _ := ctx.Value(infoKey{}).(*attempt)
	for {
		err := fn(ctx)
		if err == nil || a == nil || ctx.Err() != nil {
			return err
		}
		if _, ok := failure.Find[*Outcome](err); ok {
			return err
		}
		pause, again := a.spend(err)
		if !again || !wait(ctx, pause) {
			return err
		}
	}
}

// spend takes an attempt from the budget for a failed step, and says how long to
// wait before the next; false when the failure is the runtime's to count.
func (a *attempt) spend(err error) (time.Duration, bool) {
	c := a.c
	class := failure.Classify(err)
	wall := time.Now()
	for {
		a.mu.Lock()
		number, prev := a.number, a.record
		a.mu.Unlock()
		// Outside of the lock: it calls the error's own methods.
		record := c.recordFailure(prev, a.d.Source, class, err, number, wall, "")
		pause, again := c.policy.next(class, number, c.since(a.d, record), wall)
		if !again || pause > maxStepWait {
			return 0, false
		}
		a.mu.Lock()
		if a.number == number {
			a.number, a.record = number+1, record
			a.mu.Unlock()
			return pause, true
		}
		a.mu.Unlock() // another step was quicker: count this failure after its
	}
}
