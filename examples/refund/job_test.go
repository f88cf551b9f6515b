package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/config"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/middleware"
	"github.com/anyqueue/anyqueue/runtime"
)

// newJob returns the job of the program with made-up orders, in a test's words.
func newJob(t *testing.T, orders int, seed uint64, change ...string) *job {
	t.Helper()
	return newJobFrom(t, "memory.yaml", orders, seed, change...)
}

func readConfig(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// newJobFrom is newJob with another of the configurations.
func newJobFrom(t *testing.T, name string, orders int, seed uint64, change ...string) *job {
	t.Helper()
	text := string(readConfig(t, name))
	changed := strings.NewReplacer(change...).Replace(text)
	if len(change) > 0 && text == changed {
		t.Fatalf("%q changes nothing in the configuration", change)
	}
	file, err := config.Parse(name, []byte(changed), nil, drivers...)
	if err != nil {
		t.Fatal(err)
	}
	return &job{
		file: file, timeout: 5 * time.Minute, log: slog.New(slog.DiscardHandler),
		trouble: trouble{after: orders / 4, down: downFor, slow: slowFor},
		source:  func(d desk) source { return &generated{desk: d, count: orders, seed: seed} },
	}
}

// do runs a job whose machinery must not fail.
func do(t *testing.T, ctx context.Context, j *job) *outcome { //nolint:revive // t first is how helpers are called
	t.Helper()
	o, err := j.run(ctx, "test")
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// Whatever the seed, and however the outage, the duplicates and the faults fall,
// every promise holds.
func TestEveryOrderIsRefundedExactlyOnceWithAnySeed(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			const orders = 120
			o := do(t, t.Context(), newJob(t, orders, seed))
			if err := errors.Join(o.stopped, o.verify()); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
			r := newReport(o, nil)
			if r.Refunded < orders-3 || r.OverRefunded != 0 || r.PaidOut != r.Refunded*price || r.Orders != orders {
				t.Errorf("seed %d: %+v", seed, r)
			}
			if r.Retries[failure.ClassDependency] == 0 || r.BreakerOpened == 0 {
				t.Errorf("seed %d: the outage was not felt: %+v", seed, r)
			}
		})
	}
}

// Each fault that the job makes up ends where it must: malformed bodies, an
// unknown version, cancelled orders and the panic.
func TestEachFaultEndsInItsClassOfDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := do(t, t.Context(), newJob(t, 400, 7))
		counts := map[failure.Class]int{}
		var unknown bool
		for _, g := range o.dead.groups {
			counts[g.Class] += g.Count
			unknown = unknown || strings.Contains(g.Example, "unknown version")
		}
		if counts[failure.ClassData] < 4*len(requesters) || counts[failure.ClassFormat] < 8 || counts[failure.ClassBug] != 1 || !unknown || len(counts) != 3 {
			t.Errorf("dead letters %v, of an unknown version: %v", counts, unknown)
		}
	})
}

// The promise of one refund does not stand on the order of keys: without it two
// requesters of an order run side by side.
func TestOneRefundPerOrderWithoutTheOrderOfKeys(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			o := do(t, t.Context(), newJob(t, 100, seed, "ordering: key", "ordering: none"))
			if err := errors.Join(o.stopped, o.verify()); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		})
	}
}

// A promise that is broken is found and named. Each case breaks one.
func TestBrokenPromiseIsNamed(t *testing.T) {
	without := func(name string, chain []runtime.Middleware) []runtime.Middleware {
		return slices.DeleteFunc(chain, func(m runtime.Middleware) bool { return m.Name == name })
	}
	for name, tt := range map[string]struct {
		sabotage func(*shop, []runtime.Middleware) ([]runtime.Middleware, runtime.Handler)
		want     string
	}{
		"nobody looks at the order, and every message is a key of its own": {
			func(s *shop, chain []runtime.Middleware) ([]runtime.Middleware, runtime.Handler) {
				return without("first request of the order", chain), func(ctx context.Context, d *broker.Delivery) error {
					r := middleware.MustDecoded[request](ctx)
					if err := r.check(); err != nil {
						return failure.Data(err)
					}
					s.answer(d.ID, s.orders.markRefunded(r.Order, d.ID))
					return failure.Dependency(s.payments.refund(ctx, d.ID, r.Order, r.Amount))
				}
			}, "no order is refunded twice",
		},
		"a cancelled order is refunded": {
			func(s *shop, chain []runtime.Middleware) ([]runtime.Middleware, runtime.Handler) {
				return without("first request of the order", chain), s.refund
			}, "an order that cannot be refunded is not",
		},
		"the answer is given and the money is not": {
			func(s *shop, chain []runtime.Middleware) ([]runtime.Middleware, runtime.Handler) {
				return chain, func(_ context.Context, d *broker.Delivery) error {
					s.answer(d.ID, d.ID)
					return nil
				}
			}, "every order that can be refunded is",
		},
		"the order is marked and the money is not paid": {
			func(s *shop, chain []runtime.Middleware) ([]runtime.Middleware, runtime.Handler) {
				return chain, func(_ context.Context, d *broker.Delivery) error {
					s.answer(d.ID, s.orders.markRefunded(d.Key, d.ID))
					return nil
				}
			}, "the orders say what the bank says",
		},
		"a request that is late is a failure": {
			func(s *shop, chain []runtime.Middleware) ([]runtime.Middleware, runtime.Handler) {
				for i, m := range chain {
					if m.Name == "first request of the order" {
						chain[i].Wrap = func(next runtime.Handler) runtime.Handler {
							return func(ctx context.Context, d *broker.Delivery) error {
								if o, _ := s.orders.get(d.Key); o.refundedBy != "" {
									return failure.Data(fmt.Errorf("order %s is refunded already", d.Key))
								}
								return m.Wrap(next)(ctx, d)
							}
						}
					}
				}
				return chain, s.refund
			}, "dead letters are those that must be",
		},
		"duplicates are handled": {
			func(s *shop, chain []runtime.Middleware) ([]runtime.Middleware, runtime.Handler) {
				return without("dedupe", chain), s.refund
			}, "duplicates are suppressed",
		},
		"somebody is never answered": {
			func(s *shop, chain []runtime.Middleware) ([]runtime.Middleware, runtime.Handler) {
				return chain, func(_ context.Context, d *broker.Delivery) error {
					return runtime.Drop("no time for " + d.ID)
				}
			}, "every request is answered",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := newJob(t, 150, 3)
				j.sabotage = tt.sabotage
				o := do(t, t.Context(), j)
				err := o.verify()
				if err == nil || !strings.Contains(err.Error(), "broken invariant: "+tt.want) {
					t.Errorf("verify = %v, want %q", err, tt.want)
				}
				if r := newReport(o, err); len(r.Broken) == 0 {
					t.Error("the report does not say so")
				}
			})
		})
	}
}

// A job that is stopped half way drains, keeps what must never be broken, and
// claims nothing about what is complete.
func TestStoppedJobDrainsAndClaimsNothingOfCompleteness(t *testing.T) {
	for _, after := range []time.Duration{0, 5 * time.Millisecond, 500 * time.Millisecond, 2500 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), after+time.Nanosecond)
			defer cancel()
			o := do(t, ctx, newJob(t, 400, 1))
			if !errors.Is(o.stopped, errInterrupted) {
				t.Fatalf("after %s: stopped = %v", after, o.stopped)
			}
			if err := o.verify(); err != nil {
				t.Errorf("after %s: %v", after, err)
			}
			if o.ledger.InFlight != 0 || !o.ledger.Balanced() {
				t.Errorf("after %s: ledger %+v", after, o.ledger)
			}
			var text bytes.Buffer
			if err := newReport(o, nil).write(&text); err != nil || !strings.Contains(text.String(), "interrupted") {
				t.Errorf("after %s: %v\n%s", after, err, text.String())
			}
		})
	}
}

// A job that does not come to its end is ended by -timeout, and says what is left.
func TestJobThatHangsIsEndedAndSaysWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJob(t, 20, 1)
		j.timeout = time.Minute
		j.sabotage = func(_ *shop, chain []runtime.Middleware) ([]runtime.Middleware, runtime.Handler) {
			return chain, func(context.Context, *broker.Delivery) error { return runtime.Release(time.Second, "not today") }
		}
		o := do(t, t.Context(), j)
		if !errors.Is(o.stopped, errTooLong) || !strings.Contains(o.stopped.Error(), "neither acknowledged nor dead-lettered, the first is test-") {
			t.Errorf("stopped = %v", o.stopped)
		}
		if code := (console{err: io.Discard}).judge(nil, o.stopped, o.verify()); code != exitFailed {
			t.Errorf("exit code %d", code)
		}
	})
}

// On a terminal one line is kept up to date, and is gone at the end.
func TestProgressIsOneLineThatGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var screen bytes.Buffer
		j := newJob(t, 40, 1)
		j.watch = showProgress(&screen)
		do(t, t.Context(), j)
		lines := strings.Split(screen.String(), "\r")
		if len(lines) < 10 || strings.Contains(screen.String(), "\n") || strings.TrimSpace(lines[len(lines)-2]) != "" {
			t.Errorf("the screen was %q", lines)
		}
		if !strings.Contains(screen.String(), "0.4 s  breaker open ") {
			t.Errorf("it does not say that the breaker is open: %q", lines)
		}
		for _, line := range lines {
			if len(line) > lineWidth {
				t.Errorf("%q is wider than a terminal", line)
			}
		}
	})
}

// A broker that goes away for good ends the job with an error, not with a report
// of success, and does not leave it waiting.
func TestBrokerThatGoesAwayEndsTheJob(t *testing.T) {
	for _, after := range []time.Duration{0, 100 * time.Millisecond, 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			j := newJob(t, 800, 1)
			j.watch = func(_ context.Context, r *run) {
				time.Sleep(after)
				r.worker.Subscription().(*memory.Subscription).Broker().Close()
			}
			o, err := j.run(t.Context(), "test")
			if o == nil || o.stopped == nil || !errors.Is(errors.Join(err, o.stopped), broker.ErrClosed) {
				t.Fatalf("after %s: run = %+v, %v", after, o, err)
			}
			if code := (console{err: io.Discard}).judge(err, o.stopped, o.verify()); code != exitFailed {
				t.Errorf("after %s: exit code %d", after, code)
			}
		})
	}
}
