package storetest

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/anyqueue/anyqueue/idempotency"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newMemory(t *testing.T) *idempotency.Memory {
	t.Helper()
	m, err := idempotency.NewMemory(idempotency.MemoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The in-memory store keeps every promise, in a bubble and in real time.
func TestMemoryKeepsEveryPromise(t *testing.T) {
	RunBubble(t, func(t *testing.T) idempotency.Store { return newMemory(t) })
}

func TestMemoryKeepsEveryPromiseInRealTime(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for real leases")
	}
	Run(t, func(t *testing.T) idempotency.Store { return newMemory(t) })
}

// A store that breaks a promise fails the case named after it; a suite that
// cannot fail proves nothing.
func TestBrokenStoresFail(t *testing.T) {
	for _, broken := range []struct {
		name  string
		fails string
		make  func(s idempotency.Store) idempotency.Store
	}{
		{"completes without the condition", "OldHolderCannotTouchTheNewClaim", func(s idempotency.Store) idempotency.Store {
			w := &wrong{Store: s}
			w.complete = func(ctx context.Context, c idempotency.Claim, d time.Duration, r []byte) error {
				return w.force(c, func(c idempotency.Claim) error { return s.Complete(ctx, c, d, r) })
			}
			return w
		}},
		{"releases without the condition", "StrangerCannotTouchAClaim", func(s idempotency.Store) idempotency.Store {
			w := &wrong{Store: s}
			w.release = func(ctx context.Context, c idempotency.Claim) error {
				return w.force(c, func(c idempotency.Claim) error { return s.Release(ctx, c) })
			}
			return w
		}},
		{"says ok to a lost extension", "OldHolderCannotTouchTheNewClaim", func(s idempotency.Store) idempotency.Store {
			return &wrong{Store: s, extend: func(ctx context.Context, c idempotency.Claim, d time.Duration) error {
				return ignoreLost(s.Extend(ctx, c, d))
			}}
		}},
		{"says ok to a lost completion", "OldHolderCannotTouchTheNewCompletion", func(s idempotency.Store) idempotency.Store {
			return &wrong{Store: s, complete: func(ctx context.Context, c idempotency.Claim, d time.Duration, r []byte) error {
				return ignoreLost(s.Complete(ctx, c, d, r))
			}}
		}},
		{"forgets completions with the lease", "CompletionOutlivesTheLease", func(s idempotency.Store) idempotency.Store {
			return &wrong{Store: s, complete: func(ctx context.Context, c idempotency.Claim, d time.Duration, r []byte) error {
				return s.Complete(ctx, c, min(d, 400*time.Millisecond), r)
			}}
		}},
		{"never forgets completions", "CompletionEndsWithItsRetention", func(s idempotency.Store) idempotency.Store {
			return &wrong{Store: s, complete: func(ctx context.Context, c idempotency.Claim, d time.Duration, r []byte) error {
				return s.Complete(ctx, c, max(d, long), r)
			}}
		}},
		{"keeps claims for ever", "EndedClaimIsTakenOver", func(s idempotency.Store) idempotency.Store {
			return &wrong{Store: s, claim: func(ctx context.Context, c idempotency.Claim, d time.Duration) (idempotency.Answer, error) {
				return s.Claim(ctx, c, max(d, long))
			}}
		}},
		{"ignores extensions", "ExtendedClaimIsKept", func(s idempotency.Store) idempotency.Store {
			return &wrong{Store: s, extend: func(context.Context, idempotency.Claim, time.Duration) error { return nil }}
		}},
		{"drops results", "CompletedKeyIsADuplicateWithItsResult", func(s idempotency.Store) idempotency.Store {
			return &wrong{Store: s, complete: func(ctx context.Context, c idempotency.Claim, d time.Duration, _ []byte) error {
				return s.Complete(ctx, c, d, nil)
			}}
		}},
		{"ignores fingerprints", "OtherPayloadIsAConflict", func(s idempotency.Store) idempotency.Store {
			return &wrong{Store: s, claim: func(ctx context.Context, c idempotency.Claim, d time.Duration) (idempotency.Answer, error) {
				c.Fingerprint = ""
				return s.Claim(ctx, c, d)
			}}
		}},
		{"folds the case of keys", "KeysAreIndependentAndExact", func(s idempotency.Store) idempotency.Store {
			return &wrong{Store: s, claim: func(ctx context.Context, c idempotency.Claim, d time.Duration) (idempotency.Answer, error) {
				if c.Key == "K" {
					c.Key = "k"
				}
				return s.Claim(ctx, c, d)
			}}
		}},
		{"locks the holder out", "ClaimOfTheHolderIsNewAgain", func(s idempotency.Store) idempotency.Store {
			return &wrong{Store: s, claim: func(ctx context.Context, c idempotency.Claim, d time.Duration) (idempotency.Answer, error) {
				if s.Extend(ctx, c, d) == nil {
					return idempotency.Answer{State: idempotency.InProgress, Remaining: d}, nil
				}
				return s.Claim(ctx, c, d)
			}}
		}},
		{"looks before it writes", "OneOfManyConcurrentClaimsIsNew", func(s idempotency.Store) idempotency.Store {
			return &wrong{Store: s, claim: func(ctx context.Context, c idempotency.Claim, d time.Duration) (idempotency.Answer, error) {
				a, err := s.Claim(ctx, c, d)
				if err == nil && a.State == idempotency.InProgress && a.Remaining > d-time.Nanosecond {
					a = idempotency.Answer{State: idempotency.New} // claimed in the same instant
				}
				return a, err
			}}
		}},
		{"leaves a mark on release", "ReleasedKeyIsNewAtOnce", func(s idempotency.Store) idempotency.Store {
			return &wrong{Store: s, release: func(ctx context.Context, c idempotency.Claim) error {
				return s.Complete(ctx, c, long, nil)
			}}
		}},
		{"accepts a retention of nothing", "ZeroAndNegativeTimesAreFaults", func(s idempotency.Store) idempotency.Store {
			return &wrong{Store: s, complete: func(ctx context.Context, c idempotency.Claim, d time.Duration, r []byte) error {
				return s.Complete(ctx, c, max(d, 1), r)
			}}
		}},
		{"ignores the context", "EndedContextIsAnError", func(s idempotency.Store) idempotency.Store {
			return &wrong{Store: s, release: func(ctx context.Context, c idempotency.Claim) error {
				return s.Release(context.WithoutCancel(ctx), c)
			}}
		}},
	} {
		t.Run(broken.name, func(t *testing.T) {
			i := slices.IndexFunc(cases, func(c testCase) bool { return c.name == broken.fails })
			if i < 0 {
				t.Fatalf("no case is called %s", broken.fails)
			}
			synctest.Test(t, func(t *testing.T) {
				if failures := note(t, cases[i], broken.make(newMemory(t))); len(failures) == 0 {
					t.Errorf("%s passed a store that %s", broken.fails, broken.name)
				}
			})
		})
	}
}

// note runs a case and returns what it complained of.
func note(t *testing.T, c testCase, store idempotency.Store) []string {
	n := &notes{T: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.run(&suite{tester: n, store: store, short: 500 * time.Millisecond})
	}()
	<-done
	return n.failures
}

type notes struct {
	*testing.T
	failures []string
}

func (n *notes) Errorf(format string, args ...any) {
	n.failures = append(n.failures, fmt.Sprintf(format, args...))
}

func (n *notes) Fatalf(format string, args ...any) {
	n.Errorf(format, args...)
	goruntime.Goexit()
}

// wrong is a store with some methods replaced.
type wrong struct {
	idempotency.Store
	last     idempotency.Claim // the last one that was New
	claim    func(context.Context, idempotency.Claim, time.Duration) (idempotency.Answer, error)
	extend   func(context.Context, idempotency.Claim, time.Duration) error
	complete func(context.Context, idempotency.Claim, time.Duration, []byte) error
	release  func(context.Context, idempotency.Claim) error
}

func (w *wrong) Claim(ctx context.Context, c idempotency.Claim, d time.Duration) (idempotency.Answer, error) {
	if w.claim != nil {
		return w.claim(ctx, c, d)
	}
	a, err := w.Store.Claim(ctx, c, d)
	if err == nil && a.State == idempotency.New {
		w.last = c
	}
	return a, err
}

func (w *wrong) Extend(ctx context.Context, c idempotency.Claim, d time.Duration) error {
	if w.extend != nil {
		return w.extend(ctx, c, d)
	}
	return w.Store.Extend(ctx, c, d)
}

func (w *wrong) Complete(ctx context.Context, c idempotency.Claim, d time.Duration, r []byte) error {
	if w.complete != nil {
		return w.complete(ctx, c, d, r)
	}
	return w.Store.Complete(ctx, c, d, r)
}

func (w *wrong) Release(ctx context.Context, c idempotency.Claim) error {
	if w.release != nil {
		return w.release(ctx, c)
	}
	return w.Store.Release(ctx, c)
}

// force makes a change whoever holds the key.
func (w *wrong) force(c idempotency.Claim, change func(idempotency.Claim) error) error {
	err := change(c)
	if errors.Is(err, idempotency.ErrClaimLost) && w.last.Key == c.Key {
		c.Token = w.last.Token
		return change(c)
	}
	return err
}

func ignoreLost(err error) error {
	if errors.Is(err, idempotency.ErrClaimLost) {
		return nil
	}
	return err
}
