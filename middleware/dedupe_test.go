package middleware_test

import (
	"context"
	"errors"
	"fmt"
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

func newStore(t testing.TB) *idempotency.Memory {
	t.Helper()
	m, err := idempotency.NewMemory(idempotency.MemoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// hooked is a store with a function in front of each method that it names. A
// hook that returns an error is the answer.
type hooked struct {
	idempotency.Store
	claim, extend, complete, release func(ctx context.Context) error
}

func (h *hooked) Claim(ctx context.Context, c idempotency.Claim, d time.Duration) (idempotency.Answer, error) {
	if h.claim != nil {
		if err := h.claim(ctx); err != nil {
			return idempotency.Answer{}, err
		}
	}
	return h.Store.Claim(ctx, c, d)
}

func (h *hooked) Extend(ctx context.Context, c idempotency.Claim, d time.Duration) error {
	if h.extend != nil {
		if err := h.extend(ctx); err != nil {
			return err
		}
	}
	return h.Store.Extend(ctx, c, d)
}

func (h *hooked) Complete(ctx context.Context, c idempotency.Claim, d time.Duration, r []byte) error {
	if h.complete != nil {
		if err := h.complete(ctx); err != nil {
			return err
		}
	}
	return h.Store.Complete(ctx, c, d, r)
}

func (h *hooked) Release(ctx context.Context, c idempotency.Claim) error {
	if h.release != nil {
		if err := h.release(ctx); err != nil {
			return err
		}
	}
	return h.Store.Release(ctx, c)
}

var errStore = errors.New("store is down")

func down(context.Context) error { return errStore }

// hang waits for the context, as a server that does not answer.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// counter is a handler that counts its runs.
type counter struct{ runs int }

func (c *counter) handle(context.Context, *broker.Delivery) error {
	c.runs++
	return nil
}

var day = middleware.DedupeOptions{Retention: 24 * time.Hour, Logger: slog.New(slog.DiscardHandler)}

// A message that was handled is acknowledged when it comes again, and not
// handled, until the retention is over.
func TestDuplicateIsAcknowledgedWithoutBeingHandled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			work       counter
			suppressed []string
			o          = day
		)
		o.OnDuplicate = func(_ context.Context, d *broker.Delivery) { suppressed = append(suppressed, d.ID) }
		h := wrap(t, work.handle, middleware.Dedupe(newStore(t), o))
		for range 3 {
			if err := h(t.Context(), message("1", "a")); err != nil {
				t.Fatal(err)
			}
		}
		if work.runs != 1 || len(suppressed) != 2 {
			t.Errorf("handled %d times, suppressed %v; want once, and twice", work.runs, suppressed)
		}
		if err := h(t.Context(), message("2", "a")); err != nil || work.runs != 2 {
			t.Errorf("another message: %v, %d runs", err, work.runs)
		}
		time.Sleep(24 * time.Hour)
		if err := h(t.Context(), message("1", "a")); err != nil || work.runs != 3 {
			t.Errorf("after the retention: %v, %d runs", err, work.runs)
		}
	})
}

// Peer trap 1: a mark that is set before the handler and never removed makes the
// redelivery of a failed message look like a duplicate, and the message is lost.
func TestFailedMessageIsNeverTakenForADuplicate(t *testing.T) {
	timeout := func(ctx context.Context, _ *broker.Delivery) error {
		<-ctx.Done()
		return ctx.Err()
	}
	for name, fails := range map[string]runtime.Handler{
		"fails":                returns(errHandler),
		"panics":               panics,
		"calls Goexit":         goexit,
		"times out":            wrap(t, timeout, middleware.Timeout(time.Minute)),
		"asks for a retry":     returns(runtime.RetryAfter(time.Second, errHandler)),
		"asks for a release":   returns(runtime.Release(time.Second, "busy")),
		"asks for a dead end":  returns(runtime.DeadLetter(errHandler)),
		"drops without effect": returns(runtime.Drop("obsolete")),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var work counter
				fail := true
				h := wrap(t, func(ctx context.Context, d *broker.Delivery) error {
					if fail {
						return fails(ctx, d)
					}
					return work.handle(ctx, d)
				}, middleware.Dedupe(newStore(t), day))
				for range 3 {
					if ended, err := contained(t.Context(), h, message("1", "a")); ended == "return" && err == nil {
						t.Fatal("the failure was swallowed")
					}
				}
				fail = false
				if err := h(t.Context(), message("1", "a")); err != nil || work.runs != 1 {
					t.Errorf("the redelivery: %v, handled %d times; want handled once", err, work.runs)
				}
			})
		})
	}
}

// The same, when the attempt's context is cancelled: what must be given back is
// given back all the same.
func TestClaimIsGivenBackWhenTheAttemptIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var work counter
		store := newStore(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		h := wrap(t, func(ctx context.Context, _ *broker.Delivery) error {
			cancel(runtime.ErrShutdown)
			return context.Cause(ctx)
		}, middleware.Dedupe(store, day))
		if err := h(ctx, message("1", "a")); !errors.Is(err, runtime.ErrShutdown) {
			t.Errorf("got %v, want the handler's error", err)
		}
		if err := wrap(t, work.handle, middleware.Dedupe(store, day))(t.Context(), message("1", "a")); err != nil || work.runs != 1 {
			t.Errorf("the redelivery: %v, handled %d times", err, work.runs)
		}
	})
}

// And the mark is set although the context ended while the handler succeeded.
func TestWorkIsMarkedAsDoneWhenTheAttemptIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		ctx, cancel := context.WithCancel(t.Context())
		h := wrap(t, func(context.Context, *broker.Delivery) error {
			cancel()
			return nil
		}, middleware.Dedupe(store, day))
		if err := h(ctx, message("1", "a")); err != nil {
			t.Fatal(err)
		}
		var work counter
		if err := wrap(t, work.handle, middleware.Dedupe(store, day))(t.Context(), message("1", "a")); err != nil || work.runs != 0 {
			t.Errorf("the duplicate: %v, handled %d times", err, work.runs)
		}
	})
}

// A delivery that meets its own work in progress comes again later, spends
// nothing, and does not wait in a worker.
func TestWorkInProgressReleasesTheDuplicate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		go func() {
			_ = wrap(t, func(context.Context, *broker.Delivery) error {
				time.Sleep(5 * time.Minute) // far longer than the lease
				return nil
			}, middleware.Dedupe(store, day))(t.Context(), message("1", "a"))
		}()
		synctest.Wait()
		var work counter
		h := wrap(t, work.handle, middleware.Dedupe(store, day))
		for range 5 { // the claim is extended again and again
			wantReleased(t, h(t.Context(), message("1", "a")), time.Second, 1100*time.Millisecond)
			time.Sleep(59 * time.Second)
		}
		time.Sleep(6 * time.Second)
		if err := h(t.Context(), message("1", "a")); err != nil || work.runs != 0 {
			t.Errorf("after the other has succeeded: %v, handled %d times", err, work.runs)
		}
	})
}

// It comes again no later than the other claim ends.
func TestWaitForWorkInProgressEndsWithTheOtherClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		if _, err := store.Claim(t.Context(), idempotency.NewClaim("s:1", ""), time.Minute); err != nil {
			t.Fatal(err)
		}
		o := day
		o.Scope, o.InProgressDelay = "s", time.Hour
		h := wrap(t, succeed, middleware.Dedupe(store, o))
		wantReleased(t, h(t.Context(), message("1", "a")), time.Minute, 66*time.Second)
		time.Sleep(50 * time.Second)
		wantReleased(t, h(t.Context(), message("1", "a")), 10*time.Second, 11*time.Second)
	})
}

// One identity with two payloads is a fault of the publisher, for a person to
// see.
func TestOnePayloadPerIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var work counter
		store := newStore(t)
		h := wrap(t, work.handle, middleware.Dedupe(store, day))
		if err := h(t.Context(), message("1", "refund 100")); err != nil {
			t.Fatal(err)
		}
		wantDead(t, h(t.Context(), message("1", "refund 200")), failure.ClassData)

		o := day
		o.Fingerprint = middleware.NoFingerprint
		if err := wrap(t, work.handle, middleware.Dedupe(store, o))(t.Context(), message("1", "refund 200")); err != nil {
			t.Errorf("without a fingerprint: %v, want a duplicate", err)
		}
		if work.runs != 1 {
			t.Errorf("handled %d times, want once", work.runs)
		}
	})
}

// A message without identity cannot be told from others, so it is not handled.
func TestMessageWithoutIdentityIsDeadLettered(t *testing.T) {
	var work counter
	wantDead(t, wrap(t, work.handle, middleware.Dedupe(newStore(t), day))(t.Context(), message("", "a")), failure.ClassData)
	if work.runs != 0 {
		t.Error("it was handled")
	}
}

// A business key makes different messages one work.
func TestKeyMakesDifferentMessagesOneWork(t *testing.T) {
	var work counter
	o := day
	o.Key = func(d *broker.Delivery) string { return string(d.Body) }
	h := wrap(t, work.handle, middleware.Dedupe(newStore(t), o))
	for i := range 3 {
		if err := h(t.Context(), message(fmt.Sprint(i), "order 42")); err != nil {
			t.Fatal(err)
		}
	}
	if work.runs != 1 {
		t.Errorf("handled %d times, want once", work.runs)
	}
}

// Two consumers of one message are two works, although they share a store.
func TestScopesSeparateConsumersThatShareAStore(t *testing.T) {
	store := newStore(t)
	var works []*counter
	for _, pair := range [][2]string{{"a", "b:c"}, {"a:b", "c"}, {"a%3Ab", "c"}, {"", "a:b:c"}} {
		o, work := day, &counter{}
		o.Scope = pair[0]
		if err := wrap(t, work.handle, middleware.Dedupe(store, o))(t.Context(), message(pair[1], "x")); err != nil {
			t.Fatal(err)
		}
		works = append(works, work)
	}
	for i, w := range works[:3] {
		if w.runs != 1 {
			t.Errorf("pair %d was handled %d times, want once: its key met another's", i, w.runs)
		}
	}
}

// Every fault in the options is reported at once.
func TestDedupeReportsEveryFault(t *testing.T) {
	wantFaults(t, middleware.Dedupe(nil, middleware.DedupeOptions{}).Err, "Store", "Retention")
	store := newStore(t)
	wantFaults(t, middleware.Dedupe(store, middleware.DedupeOptions{
		Retention: -1, Lease: -1, StoreTimeout: -1, InProgressDelay: -1,
	}).Err, "Retention", "Lease", "StoreTimeout", "InProgressDelay")
	wantFaults(t, middleware.Dedupe(store, middleware.DedupeOptions{Retention: 1, Lease: time.Second, StoreTimeout: time.Second}).Err,
		"Lease")
	wantFaults(t, middleware.Dedupe(store, middleware.DedupeOptions{Retention: 1, Lease: time.Millisecond}).Err)
}

func BenchmarkDedupe(b *testing.B) {
	h := wrap(b, succeed, middleware.Dedupe(newStore(b), day))
	d := message("", "a body of some length, as bodies are")
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		d.ID = fmt.Sprint(i)
		if err := h(b.Context(), d); err != nil {
			b.Fatal(err)
		}
	}
}
