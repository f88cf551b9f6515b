package middleware_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/idempotency"
	"github.com/anyqueue/anyqueue/middleware"
	"github.com/anyqueue/anyqueue/runtime"
)

// Without the store's answer nothing is known, so the work is not done.
func TestStoreThatFailsKeepsTheHandlerFromRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var work counter
		store := &hooked{Store: newStore(t), claim: down}
		h := wrap(t, work.handle, middleware.Dedupe(store, day))
		err := h(t.Context(), message("1", "a"))
		wantClass(t, err, failure.ClassDependency)
		if failure.DependencyName(err) != "idempotency store" || !errors.Is(err, errStore) {
			t.Errorf("%v does not name the store", err)
		}

		store.claim = hang
		start := time.Now()
		wantClass(t, h(t.Context(), message("1", "a")), failure.ClassDependency)
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("a store that hangs was waited for %v, want StoreTimeout", took)
		}
		if work.runs != 0 {
			t.Errorf("handled %d times without a claim", work.runs)
		}
	})
}

// A full store is a resource that frees itself, not a broken dependency.
func TestFullStoreIsAResourceFailure(t *testing.T) {
	store, err := idempotency.NewMemory(idempotency.MemoryOptions{MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	h := wrap(t, succeed, middleware.Dedupe(store, day))
	if err := h(t.Context(), message("1", "a")); err != nil {
		t.Fatal(err)
	}
	wantClass(t, h(t.Context(), message("2", "a")), failure.ClassResource)
}

// An attempt that ends while the store is asked is not the store's failure.
func TestCancelledClaimKeepsTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(runtime.ErrShutdown) })
		err := wrap(t, succeed, middleware.Dedupe(&hooked{Store: newStore(t), claim: hang}, day))(ctx, message("1", "a"))
		if !errors.Is(err, runtime.ErrShutdown) || failure.Classify(err) == failure.ClassDependency {
			t.Errorf("got %v of class %s", err, failure.Classify(err))
		}
	})
}

// A claim that was made although its answer was lost does not stand in the way of
// the retry.
func TestClaimWhoseAnswerWasLostIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var work counter
		store := &answerLost{Store: newStore(t)}
		h := wrap(t, work.handle, middleware.Dedupe(store, day))
		wantClass(t, h(t.Context(), message("1", "a")), failure.ClassDependency)
		if err := h(t.Context(), message("1", "a")); err != nil || work.runs != 1 {
			t.Errorf("the retry: %v, handled %d times", err, work.runs)
		}
	})
}

// answerLost makes its first claim and loses the answer.
type answerLost struct {
	idempotency.Store
	claims int
}

func (s *answerLost) Claim(ctx context.Context, c idempotency.Claim, d time.Duration) (idempotency.Answer, error) {
	a, err := s.Store.Claim(ctx, c, d)
	if s.claims++; s.claims == 1 {
		return idempotency.Answer{}, errStore
	}
	return a, err
}

// The mark is worth some patience.
func TestMarkThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var work counter
		tries := 0
		store := &hooked{Store: newStore(t), complete: func(context.Context) error {
			if tries++; tries < 5 {
				return errStore
			}
			return nil
		}}
		h := wrap(t, work.handle, middleware.Dedupe(store, day))
		for range 2 {
			if err := h(t.Context(), message("1", "a")); err != nil {
				t.Fatal(err)
			}
		}
		if work.runs != 1 {
			t.Errorf("handled %d times, want once", work.runs)
		}
	})
}

// Work that is done is acknowledged although it could not be marked: to give the
// message back would do it again for certain. The claim is left to hold duplicates
// back for its lease, and an error is logged.
func TestWorkThatCannotBeMarkedIsAcknowledged(t *testing.T) {
	for name, fails := range map[string]func(context.Context) error{"fails": down, "hangs": hang} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var (
					work  counter
					logs  = &records{level: slog.LevelWarn}
					store = &hooked{Store: newStore(t), complete: fails}
					o     = day
				)
				o.Logger = slog.New(logs)
				h := wrap(t, work.handle, middleware.Dedupe(store, o))
				start := time.Now()
				if err := h(t.Context(), message("1", "a")); err != nil {
					t.Errorf("got %v, want an acknowledgement", err)
				}
				if took := time.Since(start); took > 4*time.Second {
					t.Errorf("it took %v, more than twice StoreTimeout", took)
				}
				if got := logs.levels(); got != "ERROR" {
					t.Errorf("logged at %q, want one error", got)
				}
				wantReleased(t, h(t.Context(), message("1", "a")), time.Second, 1100*time.Millisecond)
				if work.runs != 1 {
					t.Errorf("handled %d times in the lease, want once", work.runs)
				}
			})
		})
	}
}

// The same where somebody else has the key by now: the work is done.
func TestWorkDoneUnderALostClaimIsAcknowledged(t *testing.T) {
	logs := &records{level: slog.LevelWarn}
	o := day
	o.Logger = slog.New(logs)
	store := &hooked{Store: newStore(t), complete: func(context.Context) error { return idempotency.ErrClaimLost }}
	if err := wrap(t, succeed, middleware.Dedupe(store, o))(t.Context(), message("1", "a")); err != nil {
		t.Errorf("got %v, want an acknowledgement", err)
	}
	if got := logs.levels(); got != "WARN" {
		t.Errorf("logged at %q, want one warning", got)
	}
}

// A claim that cannot be released ends with its lease, and the message is handled
// then.
func TestClaimThatCannotBeReleasedEndsWithItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := &records{level: slog.LevelWarn}
		o := day
		o.Logger = slog.New(logs)
		store := &hooked{Store: newStore(t), release: down}
		err := wrap(t, returns(errHandler), middleware.Dedupe(store, o))(t.Context(), message("1", "a"))
		if err != errHandler {
			t.Errorf("got %v, want the handler's error", err)
		}
		if got := logs.levels(); got != "WARN" {
			t.Errorf("logged at %q, want one warning", got)
		}
		var work counter
		h := wrap(t, work.handle, middleware.Dedupe(store, o))
		wantReleased(t, h(t.Context(), message("1", "a")), time.Second, 1100*time.Millisecond)
		time.Sleep(time.Minute)
		if err := h(t.Context(), message("1", "a")); err != nil || work.runs != 1 {
			t.Errorf("after the lease: %v, handled %d times", err, work.runs)
		}
	})
}

// A lost claim cancels the handler, with a cause that says both what was lost and
// that it is a lease, and the message comes back unspent whatever the handler
// makes of it.
func TestLostClaimCancelsTheHandler(t *testing.T) {
	for name, answer := range map[string]error{"fails": errHandler, "says done": nil, "dead letter": runtime.DeadLetter(errHandler)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &hooked{Store: newStore(t), extend: func(context.Context) error { return idempotency.ErrClaimLost }}
				start := time.Now()
				err := wrap(t, func(ctx context.Context, _ *broker.Delivery) error {
					<-ctx.Done()
					cause := context.Cause(ctx)
					if !errors.Is(cause, idempotency.ErrClaimLost) || !errors.Is(cause, broker.ErrLeaseLost) {
						t.Errorf("cause = %v", cause)
					}
					return answer
				}, middleware.Dedupe(store, day))(t.Context(), message("1", "a"))
				if took := time.Since(start); took != 20*time.Second {
					t.Errorf("noticed after %v, want at the first extension", took)
				}
				wantReleased(t, err, 0, 0)
				if !errors.Is(err, idempotency.ErrClaimLost) {
					t.Errorf("%v does not say why", err)
				}
			})
		})
	}
}

// One failed extension is not a loss; a whole lease of them is, and the handler is
// cancelled no later than others can take the claim.
func TestClaimIsLostOnlyWhenItsLeaseIsOver(t *testing.T) {
	for name, fails := range map[string]func(context.Context) error{"fails": down, "hangs": hang} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &hooked{Store: newStore(t), extend: fails}
				start := time.Now()
				err := wrap(t, func(ctx context.Context, _ *broker.Delivery) error {
					<-ctx.Done()
					return ctx.Err()
				}, middleware.Dedupe(store, day))(t.Context(), message("1", "a"))
				if took := time.Since(start); took != time.Minute {
					t.Errorf("cancelled after %v, want at the end of the lease", took)
				}
				wantReleased(t, err, 0, 0)
			})
		})
	}
	t.Run("recovers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			store := &hooked{Store: newStore(t), extend: func(context.Context) error {
				if sick := time.Since(begun) % (2 * time.Minute); sick < 35*time.Second {
					return errStore
				}
				return nil
			}}
			err := wrap(t, func(ctx context.Context, _ *broker.Delivery) error {
				select {
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-time.After(10 * time.Minute):
					return nil
				}
			}, middleware.Dedupe(store, day))(t.Context(), message("1", "a"))
			if err != nil {
				t.Errorf("the handler was cancelled: %v", err)
			}
		})
	})
}

// A handler that ignores the end of its attempt holds its claim for one lease
// more at most: it cannot hide the message for ever.
func TestHandlerThatIgnoresItsEndLosesItsClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		go func() {
			_ = wrap(t, func(context.Context, *broker.Delivery) error {
				time.Sleep(time.Hour)
				return errHandler
			}, middleware.Dedupe(store, day))(ctx, message("1", "a"))
		}()
		var work counter
		h := wrap(t, work.handle, middleware.Dedupe(store, day))
		time.Sleep(5*time.Minute - time.Second)
		wantReleased(t, h(t.Context(), message("1", "a")), time.Second, 1100*time.Millisecond)
		time.Sleep(time.Minute + time.Second)
		if err := h(t.Context(), message("1", "a")); err != nil || work.runs != 1 {
			t.Errorf("a lease later: %v, handled %d times", err, work.runs)
		}
		time.Sleep(time.Hour)
		if err := h(t.Context(), message("1", "a")); err != nil || work.runs != 1 {
			t.Errorf("the late handler removed the mark of the new one: %v, handled %d times", err, work.runs)
		}
	})
}
