package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"
)

// showProgress returns a watcher that keeps one line of a terminal up to date.
func showProgress(w io.Writer) func(context.Context, *run) {
	return func(ctx context.Context, r *run) {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		defer fmt.Fprintf(w, "\r%*s\r", lineWidth, "")
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				fmt.Fprintf(w, "\r%-*.*s", lineWidth, lineWidth, r.line())
			}
		}
	}
}

// lineWidth fits a terminal of 80 columns without touching the last one, where
// some begin a new line.
const lineWidth = 79

// line is the state of the job in one line.
func (r *run) line() string {
	copies, _ := r.accounts.totals()
	l := r.consumer.Ledger()
	return fmt.Sprintf("%5.1f s  breaker %-9s  %d refunds  %d/%d messages  %d retried  %d dead",
		time.Since(r.start).Seconds(), r.breaker.State(), r.payments.total(), r.accounts.settled(l), copies, l.Retried, l.DeadLettered)
}

// isTerminal says whether somebody may be looking.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
