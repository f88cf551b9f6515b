package storetest

import (
	"bytes"

	"github.com/anyqueue/anyqueue/idempotency"
)

var completionCases = []testCase{
	{"CompletedKeyIsADuplicateWithItsResult", func(s *suite) {
		for _, result := range [][]byte{nil, {}, []byte("paid"), {0, 0xff, '\n'}, bytes.Repeat([]byte{7}, idempotency.MaxResultBytes)} {
			key := idempotency.NewClaim("x", "").Token
			s.complete(s.held(key, long), long, result)
			a := s.claim(idempotency.NewClaim(key, ""), long, idempotency.Duplicate)
			if !bytes.Equal(a.Result, result) {
				s.Errorf("result of %d bytes came back as %d bytes", len(result), len(a.Result))
			}
		}
	}},

	{"CompletionOutlivesTheLease", func(s *suite) {
		s.complete(s.held("k", s.short), long, nil)
		s.wait(s.short)
		s.wantState("k", idempotency.Duplicate, "after the lease, in the retention")
	}},

	{"CompletionEndsWithItsRetention", func(s *suite) {
		s.complete(s.held("k", long), s.short, nil)
		s.wantState("k", idempotency.Duplicate, "in its retention")
		s.wait(s.short)
		s.wantState("k", idempotency.New, "after its retention")
	}},

	// A caller whose answer was lost completes again. What the first call stored
	// stays.
	{"CompleteMayBeRepeated", func(s *suite) {
		c := s.held("k", long)
		s.complete(c, long, []byte("first"))
		s.complete(c, s.short, []byte("second"))
		s.wait(s.short)
		a := s.claim(idempotency.NewClaim("k", ""), long, idempotency.Duplicate)
		if string(a.Result) != "first" {
			s.Errorf("result = %q, want that of the first Complete", a.Result)
		}
	}},

	// A release after the completion, of a handler that fails late, does not undo
	// what was done.
	{"CompletedClaimCannotBeReleased", func(s *suite) {
		c := s.held("k", long)
		s.complete(c, long, nil)
		s.wantLost("holder that completed", "Release", s.store.Release(s.Context(), c))
		s.wantState("k", idempotency.Duplicate, "after the refused release")
	}},

	{"CompletedClaimCannotBeExtended", func(s *suite) {
		c := s.held("k", long)
		s.complete(c, long, nil)
		s.wantLost("holder that completed", "Extend", s.store.Extend(s.Context(), c, s.short))
		s.wait(s.short)
		s.wantState("k", idempotency.Duplicate, "after the refused extension")
	}},

	{"ClaimByTheTokenThatCompletedIsADuplicate", func(s *suite) {
		c := s.held("k", long)
		s.complete(c, long, nil)
		s.claim(c, long, idempotency.Duplicate)
	}},

	{"ResultIsCopied", func(s *suite) {
		result := []byte("paid")
		s.complete(s.held("k", long), long, result)
		copy(result, "xxxx")
		first := s.claim(idempotency.NewClaim("k", ""), long, idempotency.Duplicate)
		if string(first.Result) != "paid" {
			s.Fatalf("the store kept the caller's slice: %q", first.Result)
		}
		copy(first.Result, "yyyy")
		second := s.claim(idempotency.NewClaim("k", ""), long, idempotency.Duplicate)
		if string(second.Result) != "paid" {
			s.Fatalf("the store handed out its own slice: %q", second.Result)
		}
	}},
}
