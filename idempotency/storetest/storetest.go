// Package storetest is the conformance suite of idempotency stores. A store, of
// this module or a stranger's, runs it in its own tests:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) idempotency.Store { return open(t) })
//	}
//
// Each case checks one promise of [idempotency.Store] and is named after it.
package storetest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/idempotency"
)

// Run runs the suite in real time, for stores that talk to a server. newStore
// returns an empty store, or one with an own namespace, and cleans up with
// t.Cleanup. The suite takes some seconds, most of them waiting for leases of
// half a second to end.
func Run(t *testing.T, newStore func(t *testing.T) idempotency.Store) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(&suite{tester: t, store: newStore(t), short: 500 * time.Millisecond})
		})
	}
}

// RunBubble runs the suite with each case in a bubble of testing/synctest, where
// waiting takes no time: for stores inside the process. newStore is called in
// the bubble.
func RunBubble(t *testing.T, newStore func(t *testing.T) idempotency.Store) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.run(&suite{tester: t, store: newStore(t), short: 500 * time.Millisecond})
			})
		})
	}
}

// tester is what the suite needs of *testing.T; its own tests put in one that
// notes failures, to see that broken stores fail.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Context() context.Context
}

type suite struct {
	tester
	store idempotency.Store
	short time.Duration // a lease or retention that a case waits for
}

// long is a lease or retention that no case waits for.
const long = time.Hour

type testCase struct {
	name string
	run  func(s *suite)
}

var cases = concat(claimCases, leaseCases, completionCases, argumentCases)

func concat(groups ...[]testCase) []testCase {
	var all []testCase
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

// wait lets d pass and a little more, so that what ends after d has ended.
func (s *suite) wait(d time.Duration) {
	s.Helper()
	select {
	case <-time.After(d + d/4):
	case <-s.Context().Done():
		s.Fatalf("the test ended while waiting: %v", s.Context().Err())
	}
}

func (s *suite) claim(c idempotency.Claim, lease time.Duration, want idempotency.State) idempotency.Answer {
	s.Helper()
	a, err := s.store.Claim(s.Context(), c, lease)
	if err != nil {
		s.Fatalf("Claim(%q): %v", c.Key, err)
	}
	if a.State != want {
		s.Fatalf("Claim(%q) = %v, want %v", c.Key, a.State, want)
	}
	if (a.Remaining > 0) != (want == idempotency.InProgress) {
		s.Fatalf("Claim(%q) = %v with Remaining %v", c.Key, want, a.Remaining)
	}
	return a
}

// held returns a claim on key that holds it during lease.
func (s *suite) held(key string, lease time.Duration) idempotency.Claim {
	s.Helper()
	c := idempotency.NewClaim(key, "")
	s.claim(c, lease, idempotency.New)
	return c
}

// ask says what somebody else gets for key, and gives it back when that is New.
func (s *suite) ask(key string) idempotency.State {
	s.Helper()
	c := idempotency.NewClaim(key, "")
	a, err := s.store.Claim(s.Context(), c, long)
	if err != nil {
		s.Fatalf("Claim(%q): %v", key, err)
	}
	if a.State == idempotency.New {
		s.ok("Release", s.store.Release(s.Context(), c))
	}
	return a.State
}

func (s *suite) wantState(key string, want idempotency.State, when string) {
	s.Helper()
	if got := s.ask(key); got != want {
		s.Fatalf("%s: somebody else's claim is %v, want %v", when, got, want)
	}
}

func (s *suite) complete(c idempotency.Claim, retention time.Duration, result []byte) {
	s.Helper()
	s.ok("Complete", s.store.Complete(s.Context(), c, retention, result))
}

func (s *suite) ok(call string, err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", call, err)
	}
}
