package storetest

import (
	"errors"
	"time"

	"github.com/anyqueue/anyqueue/idempotency"
)

var leaseCases = []testCase{
	{"EndedClaimIsTakenOver", func(s *suite) {
		s.held("k", s.short)
		s.wantState("k", idempotency.InProgress, "in its lease")
		s.wait(s.short)
		s.held("k", long)
	}},

	{"ExtendedClaimIsKept", func(s *suite) {
		c := s.held("k", s.short)
		s.ok("Extend", s.store.Extend(s.Context(), c, long))
		s.wait(s.short)
		s.wantState("k", idempotency.InProgress, "after the first lease")
		s.complete(c, long, nil)
		s.wantState("k", idempotency.Duplicate, "completed")
	}},

	{"ExtendedClaimEndsToo", func(s *suite) {
		c := s.held("k", long)
		s.ok("Extend", s.store.Extend(s.Context(), c, s.short))
		s.wait(s.short)
		s.wantState("k", idempotency.New, "after the extension")
	}},

	// The fault that this suite is there for: an old holder that comes late must
	// not touch the claim of the one who took over.
	{"OldHolderCannotTouchTheNewClaim", func(s *suite) {
		for name, call := range s.changes() {
			key := "k " + name
			old := s.held(key, s.short)
			s.wait(s.short)
			s.held(key, long)
			s.wantLost("old holder", name, call(old))
			s.wantState(key, idempotency.InProgress, "after the old holder's "+name)
		}
	}},

	{"OldHolderCannotTouchTheNewCompletion", func(s *suite) {
		for name, call := range s.changes() {
			key := "k " + name
			old := s.held(key, s.short)
			s.wait(s.short)
			s.complete(s.held(key, long), long, []byte("of the new holder"))
			s.wantLost("old holder", name, call(old))
			a := s.claim(idempotency.NewClaim(key, ""), long, idempotency.Duplicate)
			if string(a.Result) != "of the new holder" {
				s.Errorf("after the old holder's %s the result is %q", name, a.Result)
			}
		}
	}},

	{"StrangerCannotTouchAClaim", func(s *suite) {
		for name, call := range s.changes() {
			key := "k " + name
			s.held(key, long)
			s.wantLost("stranger", name, call(idempotency.NewClaim(key, "")))
			s.wantState(key, idempotency.InProgress, "after a stranger's "+name)
		}
	}},

	{"ClaimThatWasNeverMadeIsLost", func(s *suite) {
		for name, call := range s.changes() {
			s.wantLost("stranger", name, call(idempotency.NewClaim("k", "")))
			s.wantState("k", idempotency.New, "after a "+name+" out of nowhere")
		}
	}},

	{"ReleasedClaimIsLost", func(s *suite) {
		for name, call := range s.changes() {
			key := "k " + name
			c := s.held(key, long)
			s.ok("Release", s.store.Release(s.Context(), c))
			s.wantLost("former holder", name, call(c))
			s.wantState(key, idempotency.New, "after the former holder's "+name)
		}
	}},

	// Late and alone is allowed, and forgotten is too. What is not: to say one and
	// do the other.
	{"LateHolderIsToldTheTruth", func(s *suite) {
		want := map[string]idempotency.State{
			"Extend": idempotency.InProgress, "Complete": idempotency.Duplicate, "Release": idempotency.New,
		}
		for name, call := range s.changes() {
			key := "k " + name
			c := s.held(key, s.short)
			s.wait(s.short)
			switch err := call(c); {
			case err == nil:
				s.wantState(key, want[name], "after a late "+name+" that succeeded")
			case errors.Is(err, idempotency.ErrClaimLost):
				s.wantState(key, idempotency.New, "after a late "+name+" that was refused")
			default:
				s.Fatalf("late %s: %v", name, err)
			}
		}
	}},
}

// changes are the three calls that change a claim.
func (s *suite) changes() map[string]func(idempotency.Claim) error {
	return map[string]func(idempotency.Claim) error{
		"Extend":   func(c idempotency.Claim) error { return s.store.Extend(s.Context(), c, long) },
		"Complete": func(c idempotency.Claim) error { return s.store.Complete(s.Context(), c, time.Minute, nil) },
		"Release":  func(c idempotency.Claim) error { return s.store.Release(s.Context(), c) },
	}
}

func (s *suite) wantLost(who, call string, err error) {
	s.Helper()
	if !errors.Is(err, idempotency.ErrClaimLost) {
		s.Fatalf("%s of a %s: %v, want ErrClaimLost", call, who, err)
	}
}
