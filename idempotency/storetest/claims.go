package storetest

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/anyqueue/anyqueue/idempotency"
)

var claimCases = []testCase{
	{"FirstClaimIsNew", func(s *suite) {
		s.held("k", long)
	}},

	{"SecondClaimIsInProgressUntilTheFirstEnds", func(s *suite) {
		s.held("k", long)
		a := s.claim(idempotency.NewClaim("k", ""), long, idempotency.InProgress)
		if a.Remaining > long || a.Remaining < long-time.Minute {
			s.Errorf("Remaining = %v, want about %v", a.Remaining, long)
		}
	}},

	// A caller whose answer was lost asks again with the same token, and must not
	// find itself in its own way.
	{"ClaimOfTheHolderIsNewAgain", func(s *suite) {
		c := s.held("k", long)
		s.claim(c, long, idempotency.New)
		s.wantState("k", idempotency.InProgress, "claimed twice by one holder")
		s.ok("Release", s.store.Release(s.Context(), c))
		s.wantState("k", idempotency.New, "claimed twice, released once")
	}},

	{"ClaimOfTheHolderRenewsTheLease", func(s *suite) {
		c := s.held("k", s.short)
		s.claim(c, long, idempotency.New)
		s.wait(s.short)
		s.wantState("k", idempotency.InProgress, "after the first lease")
	}},

	{"ReleasedKeyIsNewAtOnce", func(s *suite) {
		c := s.held("k", long)
		s.ok("Release", s.store.Release(s.Context(), c))
		s.wantState("k", idempotency.New, "after a release")
	}},

	{"OtherPayloadIsAConflict", func(s *suite) {
		first := idempotency.NewClaim("k", "payload 1")
		s.claim(first, long, idempotency.New)
		s.claim(idempotency.NewClaim("k", "payload 2"), long, idempotency.Conflict)
		s.claim(idempotency.NewClaim("k", "payload 1"), long, idempotency.InProgress)
		s.complete(first, long, nil)
		s.claim(idempotency.NewClaim("k", "payload 2"), long, idempotency.Conflict)
		s.claim(idempotency.NewClaim("k", "payload 1"), long, idempotency.Duplicate)
	}},

	{"EmptyFingerprintConflictsWithNothing", func(s *suite) {
		first := idempotency.NewClaim("with", "payload")
		s.claim(first, long, idempotency.New)
		s.claim(idempotency.NewClaim("with", ""), long, idempotency.InProgress)
		s.complete(first, long, nil)
		s.claim(idempotency.NewClaim("with", ""), long, idempotency.Duplicate)

		s.held("without", long)
		s.claim(idempotency.NewClaim("without", "payload"), long, idempotency.InProgress)
	}},

	// What was never done binds nobody: after a release or the end of a lease the
	// key is free for any payload.
	{"AbandonedPayloadConflictsWithNothing", func(s *suite) {
		c := idempotency.NewClaim("released", "payload 1")
		s.claim(c, long, idempotency.New)
		s.ok("Release", s.store.Release(s.Context(), c))
		s.claim(idempotency.NewClaim("released", "payload 2"), long, idempotency.New)

		s.claim(idempotency.NewClaim("ended", "payload 1"), s.short, idempotency.New)
		s.wait(s.short)
		second := idempotency.NewClaim("ended", "payload 2")
		s.claim(second, long, idempotency.New)
		s.claim(idempotency.NewClaim("ended", "payload 1"), long, idempotency.Conflict)
	}},

	{"KeysAreIndependentAndExact", func(s *suite) {
		keys := []string{
			"k", "K", "k ", " k", "k:", "kk", "%", "_", "'", "k'--", "é", "e\u0301", "\x00", "k\x00", "\xff\xfe", "日本",
			strings.Repeat("x", idempotency.MaxKeyBytes), strings.Repeat("x", idempotency.MaxKeyBytes-1),
		}
		claims := make([]idempotency.Claim, len(keys))
		for i, k := range keys {
			claims[i] = s.held(k, long)
		}
		s.complete(claims[0], long, nil)
		s.ok("Release", s.store.Release(s.Context(), claims[1]))
		for i, k := range keys {
			switch i {
			case 0:
				s.wantState(k, idempotency.Duplicate, "completed")
			case 1:
				s.wantState(k, idempotency.New, "released")
			default:
				s.wantState(k, idempotency.InProgress, "untouched")
			}
		}
	}},

	{"OneOfManyConcurrentClaimsIsNew", func(s *suite) {
		for range 20 {
			s.race("k", 16)
		}
	}},

	{"OneOfManyConcurrentClaimsTakesOverAnEndedOne", func(s *suite) {
		s.held("k", s.short)
		s.wait(s.short)
		s.race("k", 16)
	}},

	// An ended claim has one end: the late holder's Complete or the successor's
	// Claim, never both.
	{"LateCompleteAndTakeoverExcludeEachOther", func(s *suite) {
		for range 3 {
			late := s.held("k", s.short)
			s.wait(s.short)
			next := idempotency.NewClaim("k", "")
			var (
				wg      sync.WaitGroup
				lateErr error
				answer  idempotency.Answer
				nextErr error
			)
			wg.Go(func() { lateErr = s.store.Complete(s.Context(), late, s.short, nil) })
			wg.Go(func() { answer, nextErr = s.store.Claim(s.Context(), next, long) })
			wg.Wait()
			s.ok("Claim", nextErr)
			switch {
			case lateErr == nil && answer.State == idempotency.Duplicate:
				s.wait(s.short) // the retention
			case errors.Is(lateErr, idempotency.ErrClaimLost) && answer.State == idempotency.New:
				s.ok("Release", s.store.Release(s.Context(), next))
			default:
				s.Fatalf("late Complete: %v, and at the same time Claim = %v", lateErr, answer.State)
			}
		}
	}},
}

// race lets n callers claim a free key at once, wants one to get it, and frees
// it again.
func (s *suite) race(key string, n int) {
	s.Helper()
	var (
		wg      sync.WaitGroup
		claims  = make([]idempotency.Claim, n)
		answers = make([]idempotency.Answer, n)
		errs    = make([]error, n)
		gate    = make(chan struct{})
	)
	for i := range n {
		claims[i] = idempotency.NewClaim(key, "")
		wg.Go(func() {
			<-gate
			answers[i], errs[i] = s.store.Claim(s.Context(), claims[i], long)
		})
	}
	close(gate)
	wg.Wait()
	winner := -1
	for i, a := range answers {
		switch {
		case errs[i] != nil:
			s.Fatalf("Claim: %v", errs[i])
		case a.State == idempotency.New && winner >= 0:
			s.Fatalf("two of %d concurrent claims are New", n)
		case a.State == idempotency.New:
			winner = i
		case a.State != idempotency.InProgress:
			s.Fatalf("concurrent claim is %v", a.State)
		}
	}
	if winner < 0 {
		s.Fatalf("none of %d concurrent claims is New", n)
	}
	s.ok("Release", s.store.Release(s.Context(), claims[winner]))
}
