package idempotency_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/idempotency"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newMemory(t testing.TB, maxEntries int) *idempotency.Memory {
	t.Helper()
	m, err := idempotency.NewMemory(idempotency.MemoryOptions{MaxEntries: maxEntries})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// claim takes a free key.
func claim(t testing.TB, m *idempotency.Memory, key string, lease time.Duration) idempotency.Claim {
	t.Helper()
	c := idempotency.NewClaim(key, "")
	a, err := m.Claim(t.Context(), c, lease)
	if err != nil || a.State != idempotency.New {
		t.Fatalf("Claim(%q) = %v, %v, want new", key, a.State, err)
	}
	return c
}

func complete(t testing.TB, m *idempotency.Memory, c idempotency.Claim, retention time.Duration) {
	t.Helper()
	if err := m.Complete(t.Context(), c, retention, nil); err != nil {
		t.Fatal(err)
	}
}

// A bound out of range is a fault that names field, value and bound.
func TestMaxEntriesOutOfRangeIsAFieldError(t *testing.T) {
	for _, n := range []int{-1, 100_000_001} {
		_, err := idempotency.NewMemory(idempotency.MemoryOptions{MaxEntries: n})
		field, ok := errors.AsType[*broker.FieldError](err)
		if !ok || field.Field != "MaxEntries" || field.Value != n {
			t.Errorf("MaxEntries %d: %v, want a FieldError", n, err)
		}
	}
}

// A full store refuses new keys with a clear error, and forgets nothing that it
// promised to remember.
func TestFullStoreRefusesNewKeysAndForgetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 2)
		held := claim(t, m, "held", time.Minute)
		complete(t, m, claim(t, m, "done", time.Minute), time.Hour)

		_, err := m.Claim(t.Context(), idempotency.NewClaim("third", ""), time.Minute)
		if !errors.Is(err, idempotency.ErrFull) {
			t.Fatalf("third key: %v, want ErrFull", err)
		}
		for key, want := range map[string]idempotency.State{
			"held": idempotency.InProgress, "done": idempotency.Duplicate,
		} {
			a, err := m.Claim(t.Context(), idempotency.NewClaim(key, ""), time.Minute)
			if err != nil || a.State != want {
				t.Errorf("Claim(%q) of a full store = %v, %v, want %v", key, a.State, err, want)
			}
		}
		complete(t, m, held, time.Hour)
		if m.Len() != 2 {
			t.Errorf("Len = %d, want 2", m.Len())
		}
	})
}

// Expired records make room, however many expire at once.
func TestExpiredRecordsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 100
		m := newMemory(t, n)
		for i := range n {
			c := claim(t, m, fmt.Sprint("first ", i), time.Minute)
			if i%2 == 0 {
				complete(t, m, c, time.Minute)
			}
		}
		time.Sleep(time.Minute * 2) // half of them are claims, remembered for two leases
		for i := range n {
			complete(t, m, claim(t, m, fmt.Sprint("second ", i), time.Minute), time.Hour)
			if m.Len() > n {
				t.Fatalf("Len = %d, above its bound of %d", m.Len(), n)
			}
		}
		if m.Len() != n {
			t.Errorf("Len = %d, want the %d live ones alone", m.Len(), n)
		}
	})
}

// A holder that is late, and alone, still completes: the work was done, and the
// mark says so.
func TestLateHolderCompletesWhenNobodyTookOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 0)
		c := claim(t, m, "k", time.Minute)
		time.Sleep(90 * time.Second)
		complete(t, m, c, time.Hour)
		a, err := m.Claim(t.Context(), idempotency.NewClaim("k", ""), time.Minute)
		if err != nil || a.State != idempotency.Duplicate {
			t.Errorf("after a late completion Claim = %v, %v, want duplicate", a.State, err)
		}
	})
}

// An ended claim is forgotten after one more lease, so that abandoned ones do
// not pile up.
func TestEndedClaimIsForgottenAfterOneMoreLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 0)
		c := claim(t, m, "k", time.Minute)
		time.Sleep(2 * time.Minute)
		if err := m.Complete(t.Context(), c, time.Hour, nil); !errors.Is(err, idempotency.ErrClaimLost) {
			t.Errorf("Complete after two leases: %v, want ErrClaimLost", err)
		}
		claim(t, m, "other", time.Minute)
		if m.Len() != 1 {
			t.Errorf("Len = %d, want 1: the ended claim is still kept", m.Len())
		}
	})
}

// A retention near the end of what a duration can hold means for ever, not
// already over.
func TestRetentionForEverDoesNotOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 0)
		time.Sleep(time.Hour)
		complete(t, m, claim(t, m, "k", 1<<63-1), 1<<63-1)
		time.Sleep(24 * time.Hour)
		a, err := m.Claim(t.Context(), idempotency.NewClaim("k", ""), time.Minute)
		if err != nil || a.State != idempotency.Duplicate {
			t.Errorf("Claim = %v, %v, want duplicate", a.State, err)
		}
	})
}

// Tokens differ between claims, and long keys are shortened without meeting
// each other.
func TestNewClaimShortensLongKeysAndMakesTokens(t *testing.T) {
	long := make([]byte, 2*idempotency.MaxKeyBytes)
	a := idempotency.NewClaim(string(long), string(long))
	long[len(long)-1] = 1
	b := idempotency.NewClaim(string(long), string(long))
	if a.Key == b.Key || a.Token == b.Token || a.Fingerprint == b.Fingerprint {
		t.Errorf("two claims share a key, token or fingerprint: %v, %v", a, b)
	}
	if err := errors.Join(idempotency.CheckClaim(a, 1), idempotency.CheckClaim(b, 1)); err != nil {
		t.Error(err)
	}
	if c := idempotency.NewClaim("short", ""); c.Key != "short" {
		t.Errorf("short key became %q", c.Key)
	}
}

// All faults of a call are reported at once.
func TestChecksReportEveryFault(t *testing.T) {
	err := idempotency.CheckCompletion(
		idempotency.Claim{Fingerprint: string(make([]byte, 129))}, 0, make([]byte, idempotency.MaxResultBytes+1))
	want := map[string]bool{
		"Claim.Key": true, "Claim.Token": true, "Claim.Fingerprint": true, "retention": true, "result": true,
	}
	for _, f := range fieldErrors(err) {
		delete(want, f.Field)
	}
	if len(want) > 0 {
		t.Errorf("not reported: %v\nin: %v", want, err)
	}
	if !errors.Is(idempotency.CheckClaim(idempotency.NewClaim("k", ""), 0), broker.ErrInvalid) {
		t.Error("a lease of 0 is not reported")
	}
}

// fieldErrors lists the leaves of joined field errors.
func fieldErrors(err error) []*broker.FieldError {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*broker.FieldError
		for _, e := range joined.Unwrap() {
			all = append(all, fieldErrors(e)...)
		}
		return all
	}
	if f, ok := errors.AsType[*broker.FieldError](err); ok {
		return []*broker.FieldError{f}
	}
	return nil
}

func BenchmarkMemoryClaimAndComplete(b *testing.B) {
	m := newMemory(b, 100_000_000)
	claims := make([]idempotency.Claim, 1024)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i%len(claims) == 0 {
			b.StopTimer()
			for j := range claims {
				claims[j] = idempotency.NewClaim(fmt.Sprint(i+j), "")
			}
			b.StartTimer()
		}
		c := claims[i%len(claims)]
		i++
		if _, err := m.Claim(b.Context(), c, time.Minute); err != nil {
			b.Fatal(err)
		}
		if err := m.Complete(b.Context(), c, time.Hour, nil); err != nil {
			b.Fatal(err)
		}
	}
}
