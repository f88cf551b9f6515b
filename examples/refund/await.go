package main

import (
	"context"
	"time"

	"github.com/anyqueue/anyqueue/runtime"
)

// settled is how many messages of this run have come to their end, as far as
// anybody here has been told.
func (a *accounts) settled(l runtime.Ledger) int {
	_, acked := a.totals()
	return acked + int(l.DeadLettered-a.strangers.Load())
}

// backlog is how many messages are on their way.
func (r *run) backlog() int {
	copies, _ := r.accounts.totals()
	return copies - r.accounts.settled(r.consumer.Ledger())
}

// Nothing moved for quiet: look whether all is done although the figures do not
// add up, because the broker lost an answer to the consumer.
const quiet = 3 * time.Second

// await returns when every message was acknowledged or dead-lettered, by its ID.
func (r *run) await(ctx context.Context) error {
	last, since, looked := runtime.Ledger{}, time.Now(), false
	for {
		l := r.consumer.Ledger()
		if l != last {
			last, since, looked = l, time.Now(), false
		}
		copies, _ := r.accounts.totals()
		due := r.accounts.settled(l) >= copies || time.Since(since) > quiet
		if due && !looked && l.InFlight == 0 {
			dead, err := sweep(ctx, r.dead, r.accounts.knows, l.DeadLettered)
			if err != nil {
				return err
			}
			if len(r.accounts.unfinished(dead)) == 0 {
				return nil
			}
			looked = true
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// awaitPublished returns when everything is published, or ctx has ended.
// Publishing looks at ctx too, so that it ends soon, unless it waits for a
// terminal: a read of standard input cannot be called off, and ends with the
// program.
func awaitPublished(ctx context.Context, published <-chan error) error {
	select {
	case err := <-published:
		return err
	case <-ctx.Done():
	}
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	select {
	case err := <-published:
		return err
	case <-patience.C:
		return context.Cause(ctx)
	}
}
