package brokertest

import (
	"sync/atomic"
	"testing"
)

// promise is what anyqueue promises its users, and what an adapter breaks when
// a case fails.
type promise string

const (
	noSilentLoss   promise = "at least once, and no silent loss"
	oneRetryLayer  promise = "one retry layer: an attempt is counted once"
	notFailures    promise = "a delivery is not a failure"
	leases         promise = "a lease is held until its deadline, extended in time, lost with a reason"
	backpressure   promise = "backpressure is true"
	keyOrder       promise = "order of keys where it is asked for"
	deadLetters    promise = "a dead letter is whole and says why"
	nothingHidden  promise = "nothing is hidden"
	contentIsKept  promise = "a message is delivered as it was published"
	ownsItsResults promise = "an adapter owns what it starts"
)

// group is the cases of one file.
type group struct {
	name  string
	cases []testCase
}

// testCase is one rule. Its name is a claim about the adapter; the comment on
// its function states the rule.
type testCase struct {
	name    string
	promise promise
	run     func(e *env)
	// alone runs it before all others and not beside them: it looks at the whole
	// process.
	alone bool
}

// groups lists all cases in the order in which they are run.
func groups() []group {
	return []group{
		{"capabilities", capabilityCases},
		{"receive", receiveCases},
		{"credit", creditCases},
		{"content", contentCases},
		{"publish", publishCases},
		{"ack", ackCases},
		{"retry", retryCases},
		{"release", releaseCases},
		{"deadletter", deadLetterCases},
		{"abandoned", abandonedCases},
		{"lease", leaseCases},
		{"extend", extendCases},
		{"keys", keyCases},
		{"batch", batchCases},
		{"stats", statsCases},
		{"concurrency", concurrencyCases},
		{"close", closeCases},
		{"disconnect", disconnectCases},
		{"fault", faultCases},
	}
}

// Run checks an adapter against every rule of package broker. Each case is a
// subtest "group/Claim" on a queue of its own. Cases run in parallel unless
// h.Bubble is set; the introduction of this package says how long they take. A
// case that needs what [broker.Capabilities] deny or a hook of [Queue] that is nil
// is skipped, and the text of the skip names it.
func Run(t *testing.T, h Harness) {
	t.Helper()
	h = h.withDefaults()
	if err := h.validate(); err != nil {
		t.Fatalf("brokertest: the harness cannot be used:\n%v", err)
	}
	var ran, skipped atomic.Int64
	t.Cleanup(func() { t.Logf("brokertest: %d cases, %d of them skipped", ran.Load(), skipped.Load()) })

	for _, g := range groups() {
		for _, c := range g.cases {
			t.Run(g.name+"/"+c.name, func(t *testing.T) {
				ran.Add(1)
				t.Cleanup(func() {
					if t.Skipped() {
						skipped.Add(1)
					}
				})
				if h.Bubble != nil {
					runInBubble(t, h, c)
					return
				}
				if !c.alone {
					t.Parallel()
				}
				runCase(t, h, c)
			})
		}
	}
}

// runInBubble also hands on that the case was skipped: a bubble keeps that to
// itself.
func runInBubble(t *testing.T, h Harness, c testCase) {
	t.Helper()
	skipped := false
	h.Bubble(t, func(t *testing.T) {
		t.Cleanup(func() { skipped = t.Skipped() })
		runCase(t, h, c)
	})
	if skipped {
		t.SkipNow() // the text has been written
	}
}

// runCase runs one case on t, in its goroutine. h has its defaults.
func runCase(t T, h Harness, c testCase) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("broken promise: %s", c.promise)
		}
	})
	c.run(&env{T: t, h: h})
}
