package storetest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/idempotency"
)

var argumentCases = []testCase{
	{"ZeroAndNegativeTimesAreFaults", func(s *suite) {
		c := s.held("k", long)
		for _, d := range []time.Duration{0, -time.Second} {
			_, err := s.store.Claim(s.Context(), idempotency.NewClaim("other", ""), d)
			s.wantInvalid("Claim", err)
			s.wantInvalid("Extend", s.store.Extend(s.Context(), c, d))
			s.wantInvalid("Complete", s.store.Complete(s.Context(), c, d, nil))
		}
		s.wantState("k", idempotency.InProgress, "after refused calls")
		s.wantState("other", idempotency.New, "after refused calls")
	}},

	{"ClaimWithoutKeyOrTokenIsAFault", func(s *suite) {
		for _, c := range []idempotency.Claim{
			{},
			{Key: "k"},
			{Token: "t"},
			{Key: strings.Repeat("k", idempotency.MaxKeyBytes+1), Token: "t"},
		} {
			_, err := s.store.Claim(s.Context(), c, long)
			s.wantInvalid("Claim", err)
			s.wantInvalid("Extend", s.store.Extend(s.Context(), c, long))
			s.wantInvalid("Complete", s.store.Complete(s.Context(), c, long, nil))
			s.wantInvalid("Release", s.store.Release(s.Context(), c))
		}
	}},

	{"TooLargeResultIsAFault", func(s *suite) {
		c := s.held("k", long)
		s.wantInvalid("Complete", s.store.Complete(s.Context(), c, long, make([]byte, idempotency.MaxResultBytes+1)))
		s.wantState("k", idempotency.InProgress, "after a refused completion")
	}},

	{"EndedContextIsAnError", func(s *suite) {
		c := s.held("k", long)
		ctx, cancel := context.WithCancel(s.Context())
		cancel()
		_, err := s.store.Claim(ctx, idempotency.NewClaim("other", ""), long)
		s.wantCanceled("Claim", err)
		s.wantCanceled("Extend", s.store.Extend(ctx, c, long))
		s.wantCanceled("Complete", s.store.Complete(ctx, c, long, nil))
		s.wantCanceled("Release", s.store.Release(ctx, c))
	}},
}

func (s *suite) wantInvalid(call string, err error) {
	s.Helper()
	if !errors.Is(err, broker.ErrInvalid) {
		s.Fatalf("%s: %v, want broker.ErrInvalid", call, err)
	}
}

func (s *suite) wantCanceled(call string, err error) {
	s.Helper()
	if !errors.Is(err, context.Canceled) {
		s.Fatalf("%s with an ended context: %v, want context.Canceled", call, err)
	}
}
