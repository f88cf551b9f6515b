package faultlab

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// run enters a run of each message that succeeds and is settled.
func run(l *Ledger, seqs ...int) {
	for _, seq := range seqs {
		l.Started(seq)
		l.Finished(seq)
		l.Settled(seq)
	}
}

func published(n, keys int) *Ledger {
	l := NewLedger(n, keys)
	for seq := range n {
		l.Published(seq)
	}
	return l
}

// wantFault fails unless Check says all of it, in as many lines.
func wantFault(t *testing.T, l *Ledger, lines ...string) {
	t.Helper()
	var got string
	if err := l.Check(); err != nil {
		got = err.Error()
	}
	if want := strings.Join(lines, "\n"); got != want {
		t.Errorf("Check says\n  %s\nwant\n  %s", got, want)
	}
}

// A run in which each message has one outcome, in order, is without fault.
func TestLedgerOfAGoodRunIsWithoutFault(t *testing.T) {
	l := published(6, 2)
	run(l, 0, 2, 1, 3)
	l.Started(4) // fails, and is parked
	l.DeadLettered(4)
	run(l, 5)
	wantFault(t, l)
	if got, want := l.Totals(), (Totals{Published: 6, Started: 6, Finished: 5, Settled: 5, DeadLettered: 1}); got != want {
		t.Errorf("totals %+v, want %+v", got, want)
	}
	noError(t, l.Wait(within(t)))
}

// What was confirmed and has no outcome is lost; what was never confirmed may
// come or not.
func TestLedgerNamesWhatIsLost(t *testing.T) {
	l := NewLedger(20, 0)
	for seq := range 10 {
		l.Published(seq)
	}
	l.Started(0) // begun and not finished is lost all the same
	run(l, 1, 15)
	if got := l.Lost(); !slices.Equal(got, []int{0, 2, 3, 4, 5, 6, 7, 8, 9}) {
		t.Errorf("lost %v", got)
	}
	if l.Open() != 9 {
		t.Errorf("%d are open, want 9", l.Open())
	}
	wantFault(t, l, "9 messages (0, 2, 3, 4, 5, ...) of 10 confirmed are lost")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := l.Wait(ctx); err == nil || !strings.Contains(err.Error(), "9 messages (0, 2, 3, 4, 5, ...)") {
		t.Errorf("Wait returned %v", err)
	}
}

// Outcomes beyond the first are duplicates, bounded by what the causes allow.
func TestLedgerBoundsDuplicatesByCause(t *testing.T) {
	l := published(4, 0)
	run(l, 0, 1, 2, 3, 2, 2)
	l.DeadLettered(3)
	wantFault(t, l, "2 messages (2, 3) had 3 outcomes too many, none is allowed")
	l.Allow(1, "one cut with one in flight")
	l.Allow(1, "one worker killed")
	wantFault(t, l, "2 messages (2, 3) had 3 outcomes too many, 2 are allowed (1: one cut with one in flight; 1: one worker killed)")
	l.Allow(1, "another one")
	wantFault(t, l)
}

// A second run of a message that failed, or whose worker died, is no duplicate.
func TestLedgerTakesRetriesForNoDuplicates(t *testing.T) {
	l := published(1, 1)
	l.Started(0)
	l.Started(0)
	run(l, 0)
	wantFault(t, l)
	if started, finished := l.Runs(0); started != 3 || finished != 1 {
		t.Errorf("message 0 was started %d times and finished %d times", started, finished)
	}
}

// A message that is started before its predecessor of the same key is done
// breaks the order; so does a settlement after a later one's.
func TestLedgerNamesWhatBreaksTheOrder(t *testing.T) {
	l := published(6, 3)
	l.Started(3)
	run(l, 0, 3, 1, 4, 1)
	l.Allow(1, "the second run of 1")
	run(l, 2, 5)
	wantFault(t, l, "the order of keys was broken 2 times (3 started before 0 was done, 1 settled after 4)")
}

// A repeated run in order keeps the order.
func TestLedgerAllowsRepetitionInOrder(t *testing.T) {
	l := published(3, 1)
	l.Started(0)
	l.Finished(0)
	l.Started(1)
	run(l, 0, 1, 2)
	l.Allow(1, "a lost settlement")
	wantFault(t, l)
}

// What finished and was never settled is told: it must have come again.
func TestLedgerTellsWhatWasNotSettled(t *testing.T) {
	l := published(2, 0)
	run(l, 0)
	l.Finished(1)
	if got := l.Unsettled(); !slices.Equal(got, []int{1}) {
		t.Errorf("unsettled %v, want 1", got)
	}
}

// A message that nobody published is a fault of its own.
func TestLedgerNamesStrays(t *testing.T) {
	l := published(0, 0)
	for seq := range 6 {
		l.Started(seq)
	}
	l.Finished(-1)
	wantFault(t, l, "7 events of messages that are not in the ledger (started 0, started 1, started 2, started 3, started 4, ...)")
}

// Lines carry events between processes, and nothing else is taken for one.
func TestLedgerReadsLines(t *testing.T) {
	l := NewLedger(2, 0)
	for _, e := range []Event{Published, Started, Finished, Settled, DeadLettered} {
		if !l.Record(e.Line(1)) {
			t.Errorf("%q was not recorded", e.Line(1))
		}
	}
	if got, want := l.Totals(), (Totals{1, 1, 1, 1, 1, 1}); got != want {
		t.Errorf("totals %+v, want %+v", got, want)
	}
	for _, s := range []string{"", "ready", "started", "started x", "started 1 2", "begun 1", "started  1"} {
		if l.Record(s) {
			t.Errorf("%q was recorded", s)
		}
	}
}

// A ledger is shared by publishers and handlers.
func TestLedgerIsShared(t *testing.T) {
	const n, keys = 100_000, 1000
	l := NewLedger(n, keys)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for seq := range n {
				if seq%keys%4 == w {
					l.Published(seq)
					run(l, seq)
				}
			}
		})
	}
	wg.Wait()
	wantFault(t, l)
	if got := l.Totals().Settled; got != n {
		t.Errorf("%d settled, want %d", got, n)
	}
}
