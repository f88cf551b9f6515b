package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/runtime"
)

func handle(context.Context, *broker.Delivery) error { return nil }

// open opens a file on a fake broker that can do everything, or what caps says.
func open(t *testing.T, f *fake, file string) *Worker {
	t.Helper()
	if f.caps.Broker == "" {
		f.caps = able
	}
	parsed, err := Parse("w.yaml", []byte(file), env(), f.driver(""))
	if err != nil {
		t.Fatal(err)
	}
	w, err := parsed.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Rule: Open reads the file, and hands the driver its settings, the queue and
// what the consumer means to do.
func TestOpenTellsTheDriverWhatTheFileSays(t *testing.T) {
	f := &fake{caps: able}
	path := write(t, t.TempDir(), "w.yaml", valid+"consumer: {ordering: key, timeout: 5s, retry: {max_attempts: 3}}\n")
	w, err := Open(t.Context(), path, f.driver(""))
	if err != nil {
		t.Fatal(err)
	}
	if f.queue != "q" || f.settings.URL.Reveal() != "fake://host" || f.settings.Prefetch != 7 {
		t.Errorf("queue %q, settings %+v", f.queue, f.settings)
	}
	if !reflect.DeepEqual(f.intent, w.Options.Intent()) || f.intent.MaxAttempts != 3 || !f.intent.Ordered || f.intent.Timeout != 5*time.Second {
		t.Errorf("intent: %+v", f.intent)
	}
	if w.Queue() != "q" || w.DeadLetter() != "q.dlq" || w.Publisher() == nil || w.Subscription() != (fakeSubscription{fake: f}) {
		t.Errorf("queue %q, dead letters %q", w.Queue(), w.DeadLetter())
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context()); err != nil || !slices.Equal(f.closed, []string{"subscription", "publisher"}) {
		t.Errorf("closed %v, then %v", f.closed, err)
	}
	if _, err := w.Consumer(handle); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("a closed worker gave %v", err)
	}
}

// Rule: a consumer that ran has closed the subscription, and the worker does not
// do it again.
func TestSubscriptionIsClosedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		w := open(t, f, valid)
		c, err := w.Consumer(handle)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Consumer(handle); err == nil || !strings.Contains(err.Error(), "has its consumer already") {
			t.Errorf("a second consumer: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(f.closed, []string{"subscription", "publisher"}) {
			t.Errorf("closed: %v", f.closed)
		}
	})
}

// Rule: what is set in code between opening and making the consumer counts, and
// middleware from both places stands in one chain.
func TestCodeCanAddToOptions(t *testing.T) {
	w := open(t, &fake{}, valid)
	w.Options.Logger = slog.New(slog.DiscardHandler)
	mw := func(name string) runtime.Middleware {
		return runtime.Middleware{Name: name, Unique: true, Wrap: func(next runtime.Handler) runtime.Handler { return next }}
	}
	w.Options.Middleware = []runtime.Middleware{mw("a")}
	if _, err := w.Consumer(handle, mw("a")); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("one middleware from both places: %v", err)
	}
	if _, err := w.Consumer(handle, mw("b")); err != nil {
		t.Errorf("after a failure the worker can try again: %v", err)
	}
	if len(w.Options.Middleware) != 1 {
		t.Errorf("the options now hold %d", len(w.Options.Middleware))
	}
}

// Rule: a combination that this broker makes impossible is reported at its keys,
// all at once.
func TestWhatTheBrokerCannotDoIsAFaultOfTheFile(t *testing.T) {
	f := &fake{caps: able}
	f.caps.Extends, f.caps.Lease = false, 30*time.Second // so that the lease is shorter than the timeout
	f.caps.MaxLease = 10 * time.Minute                   // and the hold longer than the cap
	f.caps.Keys, f.caps.KeyOrder = false, false
	f.caps.DeliveryLimit = 5 // below the budget
	w := open(t, f, valid+"consumer:\n  ordering: key\n  timeout: 1m\n  max_lease: 20m\n  retry:\n    max_attempts: 20\n    max_hold: 30m\n")
	for name, build := range map[string]func() error{
		"one by one": func() error { _, err := w.Consumer(handle); return err },
		"batches": func() error {
			_, err := w.BatchConsumer(func(context.Context, []*broker.Delivery) error { return nil })
			return err
		},
	} {
		configErr, ok := errors.AsType[*Error](build())
		if !ok {
			t.Fatalf("%s: no *Error", name)
		}
		var got []string
		for _, f := range configErr.Faults {
			got = append(got, fmt.Sprintf("%s:%d:%d %s", f.File, f.Line, f.Column, f.Path))
		}
		want := []string{
			"w.yaml:6:13 consumer.ordering", "w.yaml:7:12 consumer.timeout", "w.yaml:8:14 consumer.max_lease",
			"w.yaml:10:19 consumer.retry.max_attempts", "w.yaml:11:15 consumer.retry.max_hold",
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%v\nwant %q", name, configErr, want)
		}
	}
}

// Rule: what is wrong in code is not blamed on the file: a nil handler, a faulty
// middleware, an option that code has changed.
func TestFaultsOfCodeAreNotBlamedOnTheFile(t *testing.T) {
	w := open(t, &fake{}, valid+"consumer:\n  timeout: 5s\n  concurrency: 3\n")
	w.Options.Concurrency = -1
	_, err := w.Consumer(nil, runtime.Middleware{})
	if _, ok := errors.AsType[*Error](err); ok || err == nil {
		t.Errorf("the file is blamed: %v", err)
	}
	for _, field := range []string{"Handler", "Middleware[0]", "Concurrency"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%s is missing in %v", field, err)
		}
	}
	w.Options.Concurrency = 3
	w.Options.MaxLease = time.Second // with which the file's timeout does not go
	if _, err = w.Consumer(nil); err == nil || !strings.Contains(err.Error(), "MaxLease") {
		t.Errorf("%v", err)
	}
}

// Rule: fields that a driver names when it opens lead to their keys, what it knows
// of the consumer's intent included; what the broker answers stays its error.
func TestFaultsOfOpeningLeadToTheirKeys(t *testing.T) {
	f := &fake{}
	file, err := Parse("w.yaml", []byte(valid+"  prefetch: 3\n  hosts: [{name: a}]\nconsumer:\n  retry: {max_attempts: 3}\n"), env(), f.driver(""))
	if err != nil {
		t.Fatal(err)
	}
	refused := fmt.Errorf("dial: %w", broker.ErrAccessDenied)
	field := func(name string) error { return &broker.FieldError{Field: name, Value: 1, Problem: "is bad"} }
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("fake: open: %w", field("Prefetch")), "w.yaml:5:13: fake.prefetch: is 1: is bad"},
		{field("Hosts[0].Name"), "w.yaml:6:18: fake.hosts[0].name: is 1: is bad"},
		{field("Lease"), "w.yaml:4:3: fake.lease: is not given: is bad"},
		{field("MaxAttempts"), "w.yaml:8:25: consumer.retry.max_attempts: is 1: is bad"},
		{field("Intent.MaxAttempts"), "w.yaml:8:25: consumer.retry.max_attempts: is 1: is bad"},
		{field("Queue"), "w.yaml:2:8: queue: is 1: is bad"},
		{field("Cluster.Size"), "w.yaml:4:3: fake: Cluster.Size is bad"},
		{refused, `config: w.yaml: open queue "q" on fake: dial: access denied`},
		{errors.Join(refused, field("Prefetch")), "w.yaml:5:13: fake.prefetch: is 1: is bad\n" + `config: w.yaml: open queue "q" on fake: dial: access denied`},
	} {
		f.openErr = c.err
		_, err := file.Open(t.Context())
		if err == nil || err.Error() != c.want {
			t.Errorf("%v\ngave %v\nwant %s", c.err, err, c.want)
		}
		if errors.Is(c.err, broker.ErrAccessDenied) != errors.Is(err, broker.ErrAccessDenied) {
			t.Errorf("%v lost or gained a category", err)
		}
	}
}

// Rule: a file that cannot be read is the error of the operating system, and
// arguments that are wrong are named before any file is read.
func TestOpenWithoutAFileOrADriver(t *testing.T) {
	driver := (&fake{}).driver("")
	if _, err := Open(t.Context(), "missing.yaml", driver); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Load(t.TempDir(), driver); err == nil {
		t.Error("a folder was loaded")
	}
	odd := broker.NewDriver("odd", func() *struct{ C chan int } { return nil }, nil)
	twice := broker.NewDriver("twice", func() *struct {
		A int `yaml:"x"`
		B int `yaml:"x"`
	} {
		return nil
	}, nil)
	number := broker.NewDriver("number", func() *int { return new(int) }, nil)
	loop := broker.NewDriver("loop", func() *recursive { return nil }, nil)
	for name, drivers := range map[string][]broker.Driver{
		"pass the drivers": nil, "NewDriver": {{}}, "two drivers": {driver, driver},
		"a key that every file has": {(&fake{}).driver("queue")}, "cannot hold a chan": {odd},
		`the same key "x"`: {twice}, "must be a struct": {number}, "contains itself": {loop},
	} {
		for _, call := range []func() error{
			func() error { _, err := Parse("w.yaml", nil, env(), drivers...); return err },
			func() error { _, err := Schema(drivers...); return err },
		} {
			if err := call(); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("want %q, got %v", name, err)
			}
		}
	}
}

type recursive struct{ Next *recursive }

// Rule: a driver that opens half a queue is found out at once.
func TestDriverMustOpenBothDirections(t *testing.T) {
	half := broker.NewDriver("half", func() *struct{} { return &struct{}{} },
		func(context.Context, *struct{}, string, broker.Intent) (*broker.Endpoint, error) {
			return &broker.Endpoint{}, nil
		})
	file, err := Parse("w.yaml", []byte("broker: half\nqueue: q\nhalf: {}\n"), env(), half)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Open(t.Context()); err == nil || !strings.Contains(err.Error(), `driver "half" opened half a queue`) {
		t.Errorf("got %v", err)
	}
}
