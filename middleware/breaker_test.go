package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/middleware"
	"github.com/anyqueue/anyqueue/runtime"
)

// bank is a dependency behind a breaker.
type bank struct {
	t       *testing.T
	breaker *middleware.Breaker
	handler runtime.Handler
	down    error // nil: it works
	calls   int
	changes []middleware.BreakerChange
}

func newBank(t *testing.T, o middleware.BreakerOptions) *bank {
	b := &bank{t: t}
	o.Name = "bank"
	o.OnStateChange = func(c middleware.BreakerChange) { b.changes = append(b.changes, c) }
	b.breaker = middleware.NewBreaker(o)
	b.handler = wrap(t, func(context.Context, *broker.Delivery) error {
		b.calls++
		return b.down
	}, b.breaker.Middleware())
	return b
}

var errBankDown = failure.Dependency(errors.New("bank is down"))

// deliver delivers n messages and returns what came of the last.
func (b *bank) deliver(n int) (err error) {
	for range n {
		err = b.handler(b.t.Context(), message("1", ""))
	}
	return err
}

func (b *bank) wantState(want middleware.BreakerState) {
	b.t.Helper()
	if got := b.breaker.State(); got != want {
		b.t.Fatalf("state is %s, want %s", got, want)
	}
}

// open makes the breaker open by failures.
func (b *bank) open() {
	b.t.Helper()
	b.down = errBankDown
	b.deliver(10)
	b.wantState(middleware.BreakerOpen)
}

// Enough failures of enough calls open the breaker; fewer of either do not.
func TestBreakerOpensAtItsRatioOfEnoughCalls(t *testing.T) {
	for _, c := range []struct {
		successes, failures int
		want                middleware.BreakerState
	}{
		{0, 9, middleware.BreakerClosed},
		{0, 10, middleware.BreakerOpen},
		{5, 5, middleware.BreakerOpen},
		{6, 5, middleware.BreakerClosed},
		{6, 6, middleware.BreakerOpen},
		{100, 99, middleware.BreakerClosed},
	} {
		t.Run(fmt.Sprintf("%d of %d", c.failures, c.successes+c.failures), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBank(t, middleware.BreakerOptions{})
				b.deliver(c.successes)
				b.down = errBankDown
				b.deliver(c.failures)
				b.wantState(c.want)
			})
		})
	}
}

// Failures fall out of the window, so that rare ones never add up.
func TestBreakerForgetsWhatIsOlderThanItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBank(t, middleware.BreakerOptions{})
		b.down = errBankDown
		for range 100 {
			b.deliver(1)
			time.Sleep(2 * time.Second)
		}
		b.wantState(middleware.BreakerClosed)
		b.deliver(4)
		time.Sleep(8 * time.Second)
		b.deliver(4) // with the 4, and 1 before them
		b.wantState(middleware.BreakerClosed)
		b.deliver(2)
		b.wantState(middleware.BreakerOpen)
	})
}

// Peer trap 13: a breaker that fails fast makes a hot loop of redeliveries that
// burns the budget. An open breaker calls nothing and parks the message for what
// is left of its time, with no attempt spent.
func TestOpenBreakerParksMessagesWithoutSpendingTheirBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBank(t, middleware.BreakerOptions{})
		b.open()
		calls := b.calls
		wantReleased(t, b.deliver(1), 5*time.Second, 5500*time.Millisecond)
		time.Sleep(3 * time.Second)
		wantReleased(t, b.deliver(1), 2*time.Second, 2500*time.Millisecond)
		if b.calls != calls {
			t.Errorf("%d calls while open", b.calls-calls)
		}

		// A message that does as it is told comes back a handful of times an hour.
		rounds := 0
		for end := time.Now().Add(time.Hour); time.Now().Before(end); rounds++ {
			if o := outcomeOf(b.deliver(1)); o != nil {
				time.Sleep(o.After)
			}
		}
		if rounds > 200 {
			t.Errorf("one message was delivered %d times in an hour", rounds)
		}
	})
}

// After its time the breaker lets a trickle through, and the others wait a
// moment.
func TestHalfOpenBreakerLetsATrickleThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBank(t, middleware.BreakerOptions{})
		b.open()
		time.Sleep(5 * time.Second)
		b.wantState(middleware.BreakerHalfOpen)
		release := make(chan struct{})
		running := 0
		h := wrap(t, func(context.Context, *broker.Delivery) error {
			running++
			<-release
			return nil
		}, b.breaker.Middleware())
		go func() { _ = h(t.Context(), message("probe", "")) }()
		synctest.Wait()
		for range 10 {
			wantReleased(t, h(t.Context(), message("other", "")), 500*time.Millisecond, time.Second)
		}
		close(release)
		synctest.Wait()
		if running != 1 {
			t.Errorf("%d probes ran, want one", running)
		}
	})
}

// Successes double what may run at once until the breaker closes.
func TestRecoveringDependencyGetsItsLoadBackInSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBank(t, middleware.BreakerOptions{RampTo: 10})
		b.open()
		time.Sleep(5 * time.Second)
		var widths []int
		for b.breaker.State() == middleware.BreakerHalfOpen {
			running, release := 0, make(chan struct{})
			h := wrap(t, func(context.Context, *broker.Delivery) error {
				running++
				<-release
				return nil
			}, b.breaker.Middleware())
			for range 50 {
				go func() { _ = h(t.Context(), message("1", "")) }()
				synctest.Wait()
			}
			widths = append(widths, running)
			close(release)
			synctest.Wait()
		}
		if want := []int{1, 2, 4, 8, 10}; !slices.Equal(widths, want) {
			t.Errorf("ran at once: %v, want %v", widths, want)
		}
		b.wantState(middleware.BreakerClosed)
		b.down = nil
		if err := b.deliver(1); err != nil {
			t.Errorf("closed: %v", err)
		}
	})
}

// A failure while half open opens it again, each time for longer, up to a bound;
// once it has closed it starts from the beginning.
func TestFailingProbeOpensTheBreakerForLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBank(t, middleware.BreakerOptions{MaxOpenFor: 30 * time.Second, RampTo: 1})
		b.open()
		for range 4 {
			time.Sleep(b.changes[len(b.changes)-1].OpenFor)
			if err := b.deliver(1); !errors.Is(err, errBankDown) {
				t.Fatalf("the probe was not called: %v", err)
			}
			b.wantState(middleware.BreakerOpen)
		}
		time.Sleep(30 * time.Second)
		b.down = nil
		b.deliver(1)
		b.wantState(middleware.BreakerClosed)
		b.open()

		var opened []time.Duration
		for _, c := range b.changes {
			if c.To == middleware.BreakerOpen {
				opened = append(opened, c.OpenFor/time.Second)
			}
		}
		if want := []time.Duration{5, 10, 20, 30, 30, 5}; !slices.Equal(opened, want) {
			t.Errorf("opened for %v seconds, want %v", opened, want)
		}
	})
}

// The old failures do not open a breaker that has just closed.
func TestClosedBreakerStartsWithAnEmptyWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBank(t, middleware.BreakerOptions{Window: time.Hour, RampTo: 1})
		b.open()
		time.Sleep(5 * time.Second)
		b.down = nil
		b.deliver(1)
		b.wantState(middleware.BreakerClosed)
		b.down = errBankDown
		b.deliver(9)
		b.wantState(middleware.BreakerClosed)
	})
}

// A call that began before the state changed says nothing about the new state.
func TestLateResultsAreVoid(t *testing.T) {
	for name, late := range map[string]error{"success": nil, "failure": errBankDown} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBank(t, middleware.BreakerOptions{RampTo: 1})
				release := make(chan struct{})
				h := wrap(t, func(context.Context, *broker.Delivery) error {
					<-release
					return late
				}, b.breaker.Middleware())
				go func() { _ = h(t.Context(), message("late", "")) }()
				synctest.Wait()
				b.open()
				time.Sleep(5 * time.Second)

				probing, end := make(chan struct{}), make(chan struct{})
				probe := wrap(t, func(context.Context, *broker.Delivery) error {
					close(probing)
					<-end
					return errHandler // neutral
				}, b.breaker.Middleware())
				go func() { _ = probe(t.Context(), message("probe", "")) }()
				<-probing
				close(release)
				synctest.Wait()
				b.wantState(middleware.BreakerHalfOpen)
				close(end)
				synctest.Wait()
				b.wantState(middleware.BreakerHalfOpen)
			})
		})
	}
}

// A probe that panics, exits, or fails in a way that says nothing about the
// dependency frees its place and changes nothing.
func TestProbeThatProvesNothingFreesItsPlace(t *testing.T) {
	for name, h := range map[string]runtime.Handler{
		"panics": panics, "exits": goexit, "data": returns(failure.Data(errors.New("order cancelled"))),
		"release": returns(runtime.Release(time.Second, "busy")),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBank(t, middleware.BreakerOptions{RampTo: 1})
				b.open()
				time.Sleep(5 * time.Second)
				for range 3 {
					_, _ = contained(t.Context(), wrap(t, h, b.breaker.Middleware()), message("1", ""))
					b.wantState(middleware.BreakerHalfOpen)
				}
				b.down = nil
				if err := b.deliver(1); err != nil {
					t.Errorf("the next probe: %v", err)
				}
				b.wantState(middleware.BreakerClosed)
			})
		})
	}
}

// What counts: failures of this dependency and timeouts. What another dependency,
// the data, the code or a shutdown did says nothing.
func TestBreakerCountsFailuresOfItsDependencyAlone(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want middleware.BreakerState
	}{
		{"dependency", errBankDown, middleware.BreakerOpen},
		{"its own name", failure.DependencyOf("bank", errors.New("x")), middleware.BreakerOpen},
		{"another name", failure.DependencyOf("warehouse", errors.New("x")), middleware.BreakerClosed},
		{"timeout", fmt.Errorf("call: %w", context.DeadlineExceeded), middleware.BreakerOpen},
		{"retry with a failure", runtime.RetryAfter(time.Second, errBankDown), middleware.BreakerOpen},
		{"data", failure.Data(errors.New("x")), middleware.BreakerClosed},
		{"resource", failure.Resource(errors.New("x")), middleware.BreakerClosed},
		{"unclassified", errHandler, middleware.BreakerClosed},
		{"release", runtime.Release(0, "busy"), middleware.BreakerClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBank(t, middleware.BreakerOptions{})
			b.down = c.err
			b.deliver(20)
			b.wantState(c.want)
		})
	}
	t.Run("shutdown", func(t *testing.T) {
		b := newBank(t, middleware.BreakerOptions{})
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(runtime.ErrShutdown)
		b.down = errBankDown
		for range 20 {
			_ = b.handler(ctx, message("1", ""))
		}
		b.wantState(middleware.BreakerClosed)
	})
	t.Run("Counts", func(t *testing.T) {
		b := newBank(t, middleware.BreakerOptions{Counts: func(err error) bool { return errors.Is(err, errHandler) }})
		b.down = errBankDown
		b.deliver(20)
		b.wantState(middleware.BreakerClosed)
		b.down = errHandler
		b.deliver(20)
		b.wantState(middleware.BreakerOpen)
	})
}

// Consumers that share a breaker share what it knows.
func TestBreakerIsSharedBetweenConsumers(t *testing.T) {
	b := newBank(t, middleware.BreakerOptions{})
	other := wrap(t, succeed, b.breaker.Middleware())
	b.open()
	wantReleased(t, other(t.Context(), message("1", "")), 4*time.Second, 5500*time.Millisecond)
}

// A hook may ask for the state, and one that panics breaks nothing but the
// message that met it.
func TestStateChangeHookMayAskAndMayPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			b    *middleware.Breaker
			seen []string
		)
		b = middleware.NewBreaker(middleware.BreakerOptions{
			Name: "bank", MinCalls: 1, RampTo: 1,
			OnStateChange: func(c middleware.BreakerChange) {
				seen = append(seen, fmt.Sprintf("%s>%s:%s", c.From, c.To, b.State()))
				panic("of the hook")
			},
		})
		deliver := func(err error) {
			_, _ = contained(t.Context(), wrap(t, returns(err), b.Middleware()), message("1", ""))
		}
		deliver(errBankDown)
		time.Sleep(5 * time.Second)
		deliver(nil) // half open: the hook's panic ends it before its call
		deliver(nil)
		want := []string{"closed>open:open", "open>half_open:half_open", "half_open>closed:closed"}
		if !slices.Equal(seen, want) {
			t.Errorf("seen %v, want %v", seen, want)
		}
	})
}

// A slow hook is told of changes one at a time and in order, and holds up no
// message but the one that brought it the news.
func TestStateChangesAreAnnouncedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			seen   []middleware.BreakerState
			inside int
		)
		b := middleware.NewBreaker(middleware.BreakerOptions{
			Name: "bank", MinCalls: 1, RampTo: 1,
			OnStateChange: func(c middleware.BreakerChange) {
				if inside++; inside > 1 {
					t.Error("told of two changes at once")
				}
				time.Sleep(time.Minute)
				inside--
				seen = append(seen, c.To)
			},
		})
		down := wrap(t, returns(errBankDown), b.Middleware())
		go func() { _ = down(t.Context(), message("1", "")) }()
		synctest.Wait() // the hook sleeps
		for i := range 2 {
			time.Sleep(time.Duration(i+1) * 5 * time.Second)
			if err := down(t.Context(), message("2", "")); !errors.Is(err, errBankDown) {
				t.Errorf("the probe came back with %v", err)
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		want := []middleware.BreakerState{
			middleware.BreakerOpen, middleware.BreakerHalfOpen, middleware.BreakerOpen,
			middleware.BreakerHalfOpen, middleware.BreakerOpen,
		}
		if !slices.Equal(seen, want) {
			t.Errorf("told of %v, want %v", seen, want)
		}
	})
}

// Every fault in the options is reported at once.
func TestBreakerReportsEveryFault(t *testing.T) {
	wantFaults(t, middleware.CircuitBreaker(middleware.BreakerOptions{}).Err, "Name")
	wantFaults(t, middleware.CircuitBreaker(middleware.BreakerOptions{
		Ratio: 1.1, MinCalls: -1, Window: 1, OpenFor: -1, MaxOpenFor: -2, Probes: -1, RampTo: -2,
	}).Err, "Name", "Ratio", "MinCalls", "Window", "OpenFor", "Probes", "MaxOpenFor", "RampTo")
	wantFaults(t, middleware.CircuitBreaker(middleware.BreakerOptions{Name: "x", OpenFor: time.Hour}).Err)
	wantFaults(t, middleware.CircuitBreaker(middleware.BreakerOptions{Name: "x", OpenFor: time.Hour, MaxOpenFor: time.Minute}).Err, "MaxOpenFor")
	wantFaults(t, middleware.CircuitBreaker(middleware.BreakerOptions{Name: "x", Probes: 4, RampTo: 3}).Err, "RampTo")
}

// A clock that stands behind the breaker's beginning, as one that was set back or
// a bubble's does, is no reason to fail: calls count as at the beginning.
func TestBreakerWorksWithAClockBehindItsBeginning(t *testing.T) {
	b := newBank(t, middleware.BreakerOptions{})
	synctest.Test(t, func(t *testing.T) { // begins in the year 2000
		b.t = t
		if err := b.deliver(20); err != nil {
			t.Error(err)
		}
		b.down = errBankDown
		b.deliver(20)
		b.wantState(middleware.BreakerOpen)
	})
}
