package runtime

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/failure"
)

// Asking for the next wait advances nothing, and the factor is a real number.
func TestBackoffIsAFunctionOfTheAttemptAlone(t *testing.T) {
	b := Backoff{Initial: time.Second, Max: time.Minute, Factor: 1.5, Jitter: -1}
	for range 3 {
		for n, want := range []time.Duration{time.Second, 1500 * time.Millisecond, 2250 * time.Millisecond} {
			if got := b.wait(n+1, 0.5); got != want {
				t.Errorf("wait after attempt %d: %s, want %s", n+1, got, want)
			}
		}
	}
}

// A wait lies between what jitter leaves of the ceiling and the ceiling, and the
// ceiling never falls and never passes Max, however many attempts there are.
func TestBackoffStaysWithinItsBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 10_000 {
		b := Backoff{
			Initial: 1 + time.Duration(rng.Int64N(int64(time.Minute))),
			Factor:  1 + rng.Float64()*10,
			Jitter:  rng.Float64(),
		}
		b.Max = b.Initial + time.Duration(rng.Int64N(int64(time.Hour)))
		last := time.Duration(0)
		for n := 1; n <= 1000; n += 1 + rng.IntN(100) {
			top := b.ceiling(n)
			wait := b.wait(n, rng.Float64())
			least := time.Duration(float64(top) * (1 - b.Jitter))
			if top < last || top > b.Max || top < b.Initial || wait > top || wait < least-1 {
				t.Fatalf("%+v: attempt %d: ceiling %s (before %s), wait %s, at least %s", b, n, top, last, wait, least)
			}
			last = top
		}
	}
}

// What is set for a class changes that class alone, and no class exceeds the one
// budget.
func TestClassPoliciesMergeOverDefaultsWithinTheOneBudget(t *testing.T) {
	p := Options{Retry: RetryPolicy{
		MaxAttempts: 4,
		Classes: map[failure.Class]ClassPolicy{
			failure.ClassDependency: {MaxAttempts: 2},
			failure.ClassResource:   {Backoff: Backoff{Initial: time.Second}},
		},
	}}.withDefaults().Retry
	for class, want := range map[failure.Class]ClassPolicy{
		failure.ClassFormat:       {1, p.Backoff},
		failure.ClassData:         {1, p.Backoff},
		failure.ClassCrash:        {1, p.Backoff},
		failure.ClassBug:          {3, p.Backoff},
		failure.ClassTimeout:      {4, p.Backoff},
		failure.ClassUnclassified: {4, p.Backoff},
		failure.ClassDependency:   {2, Backoff{time.Second, 5 * time.Minute, 3, 1}},
		failure.ClassResource:     {4, Backoff{time.Second, 5 * time.Second, 2, 1}},
	} {
		if got := p.class(class); got != want {
			t.Errorf("%s: got %+v, want %+v", class, got, want)
		}
	}
}

// Retries end when the total time is over, measured to where the next attempt
// would begin.
func TestMaxElapsedEndsRetries(t *testing.T) {
	p := newPolicy(Options{Retry: RetryPolicy{
		MaxAttempts: 100, MaxElapsed: time.Minute, Backoff: Backoff{Initial: 10 * time.Second, Jitter: -1, Factor: 1},
	}}.withDefaults().Retry)
	first := time.Now()
	if _, again := p.next(failure.ClassTimeout, 1, first, first.Add(50*time.Second)); !again {
		t.Error("refused an attempt that begins at 1 m")
	}
	if _, again := p.next(failure.ClassTimeout, 1, first, first.Add(51*time.Second)); again {
		t.Error("allowed an attempt that begins after 1 m")
	}
}
