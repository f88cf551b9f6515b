package idempotency_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/idempotency"
)

// model is the promise of a store written down without regard to cost: a map,
// and a look at every record each time.
type model struct {
	max     int
	records map[string]record
}

type record struct {
	claim         idempotency.Claim
	done          bool
	until, forget time.Time
	result        string
}

func (m *model) forgetExpired(now time.Time) {
	for key, r := range m.records {
		if !now.Before(r.forget) {
			delete(m.records, key)
		}
	}
}

func (m *model) claim(c idempotency.Claim, lease time.Duration, now time.Time) (idempotency.Answer, error) {
	m.forgetExpired(now)
	r, known := m.records[c.Key]
	mine := known && !r.done && r.claim.Token == c.Token
	switch {
	case !known && len(m.records) >= m.max:
		return idempotency.Answer{}, idempotency.ErrFull
	case !known, mine, !now.Before(r.until):
		if mine {
			c = r.claim
		}
		m.records[c.Key] = record{claim: c, until: now.Add(lease), forget: now.Add(2 * lease)}
		return idempotency.Answer{State: idempotency.New}, nil
	case c.Fingerprint != "" && r.claim.Fingerprint != "" && c.Fingerprint != r.claim.Fingerprint:
		return idempotency.Answer{State: idempotency.Conflict}, nil
	case r.done:
		return idempotency.Answer{State: idempotency.Duplicate, Result: []byte(r.result)}, nil
	default:
		return idempotency.Answer{State: idempotency.InProgress, Remaining: r.until.Sub(now)}, nil
	}
}

// own returns the record that carries c's token.
func (m *model) own(c idempotency.Claim, now time.Time) (record, bool) {
	m.forgetExpired(now)
	r, ok := m.records[c.Key]
	return r, ok && r.claim.Token == c.Token
}

func (m *model) extend(c idempotency.Claim, lease time.Duration, now time.Time) error {
	r, ok := m.own(c, now)
	if !ok || r.done {
		return idempotency.ErrClaimLost
	}
	r.until, r.forget = now.Add(lease), now.Add(2*lease)
	m.records[c.Key] = r
	return nil
}

func (m *model) complete(c idempotency.Claim, retention time.Duration, result string, now time.Time) error {
	r, ok := m.own(c, now)
	if !ok {
		return idempotency.ErrClaimLost
	}
	if !r.done {
		end := now.Add(retention)
		m.records[c.Key] = record{claim: r.claim, done: true, until: end, forget: end, result: result}
	}
	return nil
}

func (m *model) release(c idempotency.Claim, now time.Time) error {
	r, ok := m.own(c, now)
	if !ok || r.done {
		return idempotency.ErrClaimLost
	}
	delete(m.records, c.Key)
	return nil
}

// Whatever callers do, in whatever order and however late, the in-memory store
// answers as the model does, and keeps its bound.
func TestMemoryStoreBehavesAsItsModel(t *testing.T) {
	const seeds = 5000
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(seeds) {
			if log, ok := playSeed(t, seed); !ok {
				t.Fatalf("seed %d:\n%s", seed, log)
			}
		}
	})
}

// playSeed plays one random schedule and says whether store and model agreed.
func playSeed(t *testing.T, seed uint64) (log string, ok bool) {
	var (
		rng    = rand.New(rand.NewPCG(seed, 1))
		bound  = 1 + rng.IntN(4)
		store  = newMemory(t, bound)
		want   = &model{max: bound, records: make(map[string]record)}
		claims []idempotency.Claim // every claim ever tried
		steps  strings.Builder
	)
	length := func() time.Duration { return time.Duration(1+rng.IntN(20)) * time.Second }
	known := func() idempotency.Claim {
		if len(claims) == 0 || rng.IntN(12) == 0 {
			return idempotency.NewClaim(fmt.Sprint("k", rng.IntN(5)), "")
		}
		return claims[max(len(claims)-1-rng.IntN(6), 0)]
	}
	for range 80 {
		time.Sleep(time.Duration(rng.IntN(8)) * time.Second)
		now := time.Now()
		var got, expected string
		switch rng.IntN(10) {
		case 0, 1, 2, 3:
			fingerprint := []string{"", "a", "b"}[rng.IntN(3)]
			c := idempotency.NewClaim(fmt.Sprint("k", rng.IntN(5)), fingerprint)
			if len(claims) > 0 && rng.IntN(5) == 0 {
				c = known()
			}
			claims = append(claims, c)
			lease := length()
			fmt.Fprintf(&steps, "claim %s %.4s %v: ", c.Key, c.Token, lease)
			got = describe(store.Claim(t.Context(), c, lease))
			expected = describe(want.claim(c, lease, now))
		case 4, 5:
			c, lease := known(), length()
			fmt.Fprintf(&steps, "extend %s %.4s %v: ", c.Key, c.Token, lease)
			got = outcome(store.Extend(t.Context(), c, lease))
			expected = outcome(want.extend(c, lease, now))
		case 6, 7:
			c, retention, result := known(), length(), fmt.Sprint(rng.IntN(100))
			fmt.Fprintf(&steps, "complete %s %.4s %v: ", c.Key, c.Token, retention)
			got = outcome(store.Complete(t.Context(), c, retention, []byte(result)))
			expected = outcome(want.complete(c, retention, result, now))
		default:
			c := known()
			fmt.Fprintf(&steps, "release %s %.4s: ", c.Key, c.Token)
			got = outcome(store.Release(t.Context(), c))
			expected = outcome(want.release(c, now))
		}
		fmt.Fprintf(&steps, "%s\n", got)
		if got != expected {
			fmt.Fprintf(&steps, "want %s\n", expected)
			return steps.String(), false
		}
		if n := store.Len(); n > bound {
			fmt.Fprintf(&steps, "Len = %d, above the bound of %d\n", n, bound)
			return steps.String(), false
		}
	}
	return "", true
}

func describe(a idempotency.Answer, err error) string {
	if err != nil {
		return outcome(err)
	}
	return fmt.Sprintf("%v %v %q", a.State, a.Remaining, a.Result)
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, idempotency.ErrClaimLost):
		return "lost"
	case errors.Is(err, idempotency.ErrFull):
		return "full"
	default:
		return err.Error()
	}
}
