package brokertest

import (
	"context"
	"fmt"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// recorder is a T that notes what a case reports, so that a case may fail
// without failing the test that runs it.
type recorder struct {
	name string
	ctx  context.Context

	mu       sync.Mutex
	cleanups []func()
	faults   []string
	skip     string
}

// observe runs a case in a bubble and returns what it reported.
func observe(t *testing.T, h Harness, group string, c testCase) *recorder {
	t.Helper()
	r := &recorder{name: t.Name() + "/" + group + "/" + c.name}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r.ctx = ctx
		var wg sync.WaitGroup
		wg.Go(func() {
			defer r.cleanUp()
			defer cancel()
			defer func() {
				if p := recover(); p != nil {
					r.fault(fmt.Sprintf("panic: %v", p))
				}
			}()
			runCase(r, h, c)
		})
		wg.Wait()
	})
	return r
}

func (r *recorder) cleanUp() {
	for {
		r.mu.Lock()
		n := len(r.cleanups)
		if n == 0 {
			r.mu.Unlock()
			return
		}
		f := r.cleanups[n-1]
		r.cleanups = r.cleanups[:n-1]
		r.mu.Unlock()
		f()
	}
}

func (r *recorder) fault(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, text)
}

func (r *recorder) Helper()                  {}
func (r *recorder) Name() string             { return r.name }
func (r *recorder) Context() context.Context { return r.ctx }
func (r *recorder) Logf(string, ...any)      {}

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *recorder) Errorf(format string, args ...any) { r.fault(fmt.Sprintf(format, args...)) }

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	goruntime.Goexit()
}

func (r *recorder) Skipf(format string, args ...any) {
	r.mu.Lock()
	r.skip = fmt.Sprintf(format, args...)
	r.mu.Unlock()
	goruntime.Goexit()
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.faults) > 0
}

// result is the case's result in a word, and its first fault.
func (r *recorder) result() (word, detail string) {
	switch {
	case r.Failed():
		return "failed", strings.SplitN(r.faults[0], "\n", 2)[0]
	case r.skip != "":
		return "skipped", r.skip
	default:
		return "passed", ""
	}
}

// A recorder keeps what a case reports from the test, ends the case at Fatalf
// and Skipf, and runs its cleanups last first, after its context has ended.
func TestRecorderKeepsFailuresToItself(t *testing.T) {
	var order []string
	c := testCase{name: "Case", run: func(e *env) {
		e.Cleanup(func() { order = append(order, "first", fmt.Sprint(e.Context().Err())) })
		e.Cleanup(func() { order = append(order, "second") })
		e.Errorf("one")
		e.Fatalf("two")
		order = append(order, "not reached")
	}}
	r := observe(t, Harness{}, "group", c)
	if want := []string{"one", "two"}; !slices.Equal(r.faults, want) {
		t.Errorf("faults are %q, want %q", r.faults, want)
	}
	if want := []string{"second", "first", "context canceled"}; !slices.Equal(order, want) {
		t.Errorf("cleanups ran in the order %q, want %q", order, want)
	}
	r = observe(t, Harness{}, "group", testCase{run: func(*env) { panic("three") }})
	if word, detail := r.result(); word != "failed" || detail != "panic: three" {
		t.Errorf("after a panic: %s %q", word, detail)
	}
	r = observe(t, Harness{}, "group", testCase{run: func(e *env) { e.needs(false, "what is not there") }})
	if word, detail := r.result(); word != "skipped" || detail != "brokertest: needs what is not there" {
		t.Errorf("after a skip: %s %q", word, detail)
	}
}
