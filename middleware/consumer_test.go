package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/idempotency"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/middleware"
	"github.com/anyqueue/anyqueue/runtime"
)

// world is an in-memory broker in a bubble, where time is fake.
type world struct {
	*testing.T
	broker *memory.Broker
}

// inWorld runs a test in a bubble, with the queues "jobs" and "others".
func inWorld(t *testing.T, body func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, broker: memory.New(memory.Options{})}
		t.Cleanup(w.broker.Close)
		for _, queue := range []string{"jobs", "others"} {
			if err := w.broker.Declare(memory.Queue{Name: queue}); err != nil {
				t.Fatal(err)
			}
		}
		body(w)
	})
}

func (w *world) publish(queue string, ms ...*broker.Message) {
	w.Helper()
	if err := w.broker.Publisher().Publish(w.Context(), queue, ms...); err != nil {
		w.Fatal(err)
	}
}

// consume runs a consumer until the test ends or stop is called, which returns
// what Run returned.
func (w *world) consume(queue string, h runtime.Handler, o runtime.Options) (c *runtime.Consumer, stop func() error) {
	w.Helper()
	sub, err := w.broker.Subscribe(queue, memory.SubscribeOptions{})
	if err != nil {
		w.Fatal(err)
	}
	o.Logger = slog.New(slog.DiscardHandler)
	if c, err = runtime.New(sub, h, o); err != nil {
		w.Fatal(err)
	}
	return c, w.start(c)
}

// consumeBatch is consume for a batch handler.
func (w *world) consumeBatch(queue string, h runtime.BatchHandler, o runtime.Options) {
	w.Helper()
	sub, err := w.broker.Subscribe(queue, memory.SubscribeOptions{})
	if err != nil {
		w.Fatal(err)
	}
	o.Logger = slog.New(slog.DiscardHandler)
	c, err := runtime.NewBatch(sub, h, o)
	if err != nil {
		w.Fatal(err)
	}
	w.start(c)
}

func (w *world) start(c *runtime.Consumer) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	w.Cleanup(func() {
		if err := stop(); err != nil {
			w.Errorf("Run: %v", err)
		}
		if l := c.Ledger(); !l.Balanced() || l.InFlight != 0 {
			w.Errorf("ledger after Run: %+v", l)
		}
	})
	return stop
}

// drained waits until the queue is empty, at most for a day, and returns its
// dead letters.
func (w *world) drained(queue string) []memory.Stored {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 24*time.Hour)
	defer cancel()
	if err := w.broker.Drained(ctx, queue); err != nil {
		left, _ := w.broker.Messages(queue)
		w.Fatalf("%d messages are left in %s: %v", len(left), queue, err)
	}
	synctest.Wait()
	dead, err := w.broker.Messages(queue + ".dlq")
	if err != nil {
		w.Fatal(err)
	}
	return dead
}

// tally counts by message.
type tally struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *tally) add(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = make(map[string]int)
	}
	c.n[id]++
	return c.n[id]
}

func (c *tally) wantEach(t testing.TB, messages, times int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.n) != messages {
		t.Errorf("%d messages were handled, want %d", len(c.n), messages)
	}
	for id, n := range c.n {
		if n != times {
			t.Errorf("%s was handled %d times, want %d", id, n, times)
		}
	}
}

func numbered(n int) []*broker.Message {
	ms := make([]*broker.Message, n)
	for i := range ms {
		ms[i] = &broker.Message{ID: fmt.Sprint("m", i), Body: fmt.Append(nil, "body ", i)}
	}
	return ms
}

// Messages that are published twice, and delivered twice, to two consumers, are
// handled once.
func TestConsumersHandleDuplicatesOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		if err := w.broker.Inject("jobs", memory.Faults{Deliver: memory.Every(3, memory.Duplicate())}); err != nil {
			t.Fatal(err)
		}
		var handled tally
		h := func(_ context.Context, d *broker.Delivery) error {
			time.Sleep(time.Second)
			handled.add(d.ID)
			return nil
		}
		o := runtime.Options{Middleware: []runtime.Middleware{middleware.Dedupe(newStore(t), day)}}
		w.consume("jobs", h, o)
		w.consume("jobs", h, o)
		w.publish("jobs", numbered(50)...)
		w.publish("jobs", numbered(50)...)
		if dead := w.drained("jobs"); len(dead) > 0 {
			t.Errorf("%d dead letters: %v", len(dead), dead[0].Failure.Message())
		}
		handled.wantEach(t, 50, 1)
	})
}

// Peer trap 1, with a real consumer: what failed, panicked, exited or timed out is
// handled again, and succeeds.
func TestRedeliveryOfAFailedMessageRunsBehindDedupe(t *testing.T) {
	inWorld(t, func(w *world) {
		var tries, handled tally
		h := func(ctx context.Context, d *broker.Delivery) error {
			switch tries.add(d.ID) {
			case 1:
				return errHandler
			case 2:
				panic("of the handler")
			case 3:
				return goexit(ctx, d)
			case 4:
				<-ctx.Done()
				return ctx.Err()
			}
			handled.add(d.ID)
			return nil
		}
		w.consume("jobs", h, runtime.Options{
			Retry: runtime.RetryPolicy{MaxAttempts: 5, Classes: map[failure.Class]runtime.ClassPolicy{failure.ClassBug: {MaxAttempts: 5}}},
			Middleware: []runtime.Middleware{
				middleware.Dedupe(newStore(t), day), middleware.Timeout(time.Minute),
			},
		})
		w.publish("jobs", numbered(20)...)
		if dead := w.drained("jobs"); len(dead) > 0 {
			t.Errorf("%d dead letters: %v", len(dead), dead[0].Failure.Message())
		}
		handled.wantEach(t, 20, 1)
	})
}

// In a batch too a duplicate is not handled, and an item that failed is not taken
// for one.
func TestBatchHandlerSeesNoDuplicates(t *testing.T) {
	inWorld(t, func(w *world) {
		var tries, handled tally
		w.consumeBatch("jobs", func(_ context.Context, batch []*broker.Delivery) error {
			var failed *runtime.BatchError
			for i, d := range batch {
				if tries.add(d.ID) == 1 {
					failed = failed.Fail(i, errHandler)
					continue
				}
				handled.add(d.ID)
			}
			return failed.Err()
		}, runtime.Options{BatchSize: 5, Middleware: []runtime.Middleware{middleware.Dedupe(newStore(t), day)}})
		w.publish("jobs", numbered(20)...)
		w.publish("jobs", numbered(20)...)
		w.drained("jobs")
		handled.wantEach(t, 20, 1)
	})
}

// What follows a failed item of its key in a batch is to run again behind it, so
// that it is not marked as done.
func TestDedupeLetsWhatFollowsAFailedItemRunAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		if err := w.broker.Declare(memory.Queue{Name: "keyed", Without: memory.Without{KeyOrder: true}}); err != nil {
			t.Fatal(err)
		}
		var ran []string
		w.consumeBatch("keyed", func(_ context.Context, batch []*broker.Delivery) error {
			var failed *runtime.BatchError
			if len(ran) == 0 {
				failed = failed.Fail(0, errHandler)
			}
			for _, d := range batch {
				ran = append(ran, string(d.Body))
			}
			return failed.Err()
		}, runtime.Options{
			Concurrency: 1, Ordering: runtime.OrderKey, BatchSize: 2,
			Middleware: []runtime.Middleware{middleware.Dedupe(newStore(t), day)},
		})
		w.publish("keyed", &broker.Message{Key: "k", Body: []byte("1")}, &broker.Message{Key: "k", Body: []byte("2")})
		w.drained("keyed")
		if !slices.Equal(ran, []string{"1", "2", "1", "2"}) {
			t.Errorf("ran %v", ran)
		}
	})
}

// Work in progress elsewhere costs a message no attempt, however long it takes.
func TestWaitingForWorkInProgressSpendsNoAttempt(t *testing.T) {
	inWorld(t, func(w *world) {
		store := newStore(t)
		other := idempotency.NewClaim("memory/jobs:m0", "")
		if _, err := store.Claim(t.Context(), other, 2*time.Hour); err != nil {
			t.Fatal(err)
		}
		attempts := 0
		start := time.Now()
		w.consume("jobs", func(_ context.Context, d *broker.Delivery) error {
			attempts = d.Attempt
			return nil
		}, runtime.Options{
			Retry:      runtime.RetryPolicy{MaxAttempts: 1},
			Middleware: []runtime.Middleware{middleware.Dedupe(store, day)},
		})
		w.publish("jobs", numbered(1)...)
		if dead := w.drained("jobs"); len(dead) > 0 {
			t.Fatalf("dead-lettered: %v", dead[0].Failure.Message())
		}
		if took := time.Since(start); attempts != 1 || took < 2*time.Hour || took > 2*time.Hour+2*time.Minute {
			t.Errorf("handled as attempt %d after %v, want the first, soon after the other's claim ended", attempts, took)
		}
	})
}

// Two consumers of one message, with a store in common and names of their own,
// both do their work.
func TestConsumersOfDifferentNamesBothHandleAMessage(t *testing.T) {
	inWorld(t, func(w *world) {
		store := newStore(t)
		var handled tally
		for _, queue := range []string{"jobs", "others"} {
			w.consume(queue, func(_ context.Context, d *broker.Delivery) error {
				handled.add(d.Source)
				return nil
			}, runtime.Options{Name: "for " + queue, Middleware: []runtime.Middleware{middleware.Dedupe(store, day)}})
			w.publish(queue, numbered(1)...)
			w.drained(queue)
		}
		handled.wantEach(t, 2, 1)
	})
}

// Peer trap 13, with a real consumer: a dependency is down for much longer than
// the budget of a message would last, and no message is dead-lettered, none spins,
// and all are handled once it works.
func TestOutageBehindABreakerLosesNoMessageAndSpinsNone(t *testing.T) {
	inWorld(t, func(w *world) {
		var (
			handled tally
			mu      sync.Mutex
			calls   int
		)
		up := time.Now().Add(30 * time.Minute)
		breaker := middleware.NewBreaker(middleware.BreakerOptions{Name: "bank"})
		c, _ := w.consume("jobs", func(_ context.Context, d *broker.Delivery) error {
			time.Sleep(100 * time.Millisecond)
			mu.Lock()
			calls++
			mu.Unlock()
			if time.Now().Before(up) {
				return failure.DependencyOf("bank", errors.New("down"))
			}
			handled.add(d.ID)
			return nil
		}, runtime.Options{Concurrency: 10, Middleware: []runtime.Middleware{breaker.Middleware()}})
		w.publish("jobs", numbered(200)...)

		time.Sleep(29 * time.Minute)
		synctest.Wait()
		mu.Lock()
		if calls > 100 {
			t.Errorf("%d calls of a dependency that is down", calls)
		}
		mu.Unlock()
		if l := c.Ledger(); l.Received > 30_000 {
			t.Errorf("%d deliveries in half an hour: the messages spin", l.Received)
		}
		if dead := w.drained("jobs"); len(dead) > 0 {
			t.Errorf("%d dead letters: %v", len(dead), dead[0].Failure.Message())
		}
		handled.wantEach(t, 200, 1)
		if s := breaker.State(); s != middleware.BreakerClosed {
			t.Errorf("the breaker is %s", s)
		}
	})
}

// A rate that is far below what the workers could do costs no attempts, and
// workers do not stand around.
func TestConsumerBehindARateLimitKeepsTheRateAndTheBudget(t *testing.T) {
	inWorld(t, func(w *world) {
		var handled tally
		start := time.Now()
		w.consume("jobs", func(_ context.Context, d *broker.Delivery) error {
			if d.Attempt != 1 {
				t.Errorf("%s is handled as attempt %d", d.ID, d.Attempt)
			}
			handled.add(d.ID)
			return nil
		}, runtime.Options{Concurrency: 16, Middleware: []runtime.Middleware{
			middleware.RateLimit(middleware.RateLimitOptions{PerSecond: 5}),
		}})
		w.publish("jobs", numbered(300)...)
		w.drained("jobs")
		handled.wantEach(t, 300, 1)
		if took := time.Since(start); took < 59*time.Second || took > 80*time.Second {
			t.Errorf("300 messages at 5 per second took %v", took)
		}
	})
}

// Peer trap 25, with a real consumer: shutdown does not wait for turns.
func TestShutdownDoesNotWaitForTheRateLimit(t *testing.T) {
	inWorld(t, func(w *world) {
		_, stop := w.consume("jobs", succeed, runtime.Options{
			Concurrency: 4, DrainTimeout: -1,
			Middleware: []runtime.Middleware{
				middleware.RateLimit(middleware.RateLimitOptions{PerSecond: 0.01, MaxWait: time.Hour}),
			},
		})
		w.publish("jobs", numbered(10)...)
		time.Sleep(10 * time.Second)
		start := time.Now()
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("shutdown took %v", took)
		}
		left, err := w.broker.Messages("jobs")
		if err != nil {
			t.Fatal(err)
		}
		if len(left) != 9 {
			t.Errorf("%d messages are left, want 9", len(left))
		}
		for _, m := range left {
			if m.Attempt != 1 {
				t.Errorf("%s comes back as attempt %d", m.ID, m.Attempt)
			}
		}
	})
}

// Peer trap 22, with real consumers: a message of the next version outlives the
// old consumer and reaches the new one, with its whole budget.
func TestNextVersionReachesTheNextConsumer(t *testing.T) {
	inWorld(t, func(w *world) {
		type v1 struct{ Euros int }
		type v2 struct{ Cents int }
		decode := func(s ...middleware.Schema) []runtime.Middleware {
			return []runtime.Middleware{middleware.Decode(middleware.DecodeOptions{Schemas: s})}
		}
		_, stop := w.consume("jobs", func(context.Context, *broker.Delivery) error {
			t.Error("the old consumer handled it")
			return nil
		}, runtime.Options{Middleware: decode(middleware.JSONSchema[v1]("refund", 1))})
		w.publish("jobs", &broker.Message{Type: "refund", SchemaVersion: 2, Body: []byte(`{"Cents": 7}`)})
		time.Sleep(3 * time.Hour)
		if err := stop(); err != nil {
			t.Error(err)
		}
		handled := false
		w.consume("jobs", func(ctx context.Context, d *broker.Delivery) error {
			handled = d.Attempt == 1 && middleware.MustDecoded[v2](ctx).Cents == 7
			return nil
		}, runtime.Options{Middleware: decode(middleware.JSONSchema[v2]("refund", 2))})
		if dead := w.drained("jobs"); len(dead) > 0 || !handled {
			t.Errorf("dead letters %d, handled as its first attempt: %v", len(dead), handled)
		}
	})
}

// What cannot be helped is dead-lettered with its class: no body is discarded.
func TestMiddlewareFailuresReachTheDeadLettersWithTheirClass(t *testing.T) {
	inWorld(t, func(w *world) {
		w.consume("jobs", func(ctx context.Context, d *broker.Delivery) error {
			<-ctx.Done()
			return errHandler
		}, runtime.Options{
			Retry: runtime.RetryPolicy{MaxAttempts: 1},
			Middleware: []runtime.Middleware{
				middleware.Decode(middleware.DecodeOptions{Schemas: []middleware.Schema{middleware.JSONSchema[int]("n", 1)}, UnknownFor: -1}),
				middleware.Dedupe(newStore(t), day),
				middleware.Timeout(time.Second),
			},
		})
		w.publish("jobs",
			&broker.Message{ID: "undecodable", Type: "n", SchemaVersion: 1, Body: []byte("x")},
			&broker.Message{ID: "unknown", Type: "n", SchemaVersion: 2, Body: []byte("1")},
			&broker.Message{ID: "slow", Type: "n", SchemaVersion: 1, Body: []byte("1")},
		)
		want := map[string]failure.Class{
			"undecodable": failure.ClassFormat, "unknown": failure.ClassFormat, "slow": failure.ClassTimeout,
		}
		for _, m := range w.drained("jobs") {
			if m.Failure.Class != want[m.ID] {
				t.Errorf("%s was dead-lettered as %s, want %s: %s", m.ID, m.Failure.Class, want[m.ID], m.Failure.Message())
			}
			delete(want, m.ID)
		}
		if len(want) > 0 {
			t.Errorf("not in the dead letters: %v", want)
		}
	})
}

// Middleware that may stand in a chain once is refused twice, and faults of all
// middleware are reported together with the consumer's own.
func TestConsumerReportsMiddlewareFaults(t *testing.T) {
	w := memory.New(memory.Options{})
	defer w.Close()
	if err := w.Declare(memory.Queue{Name: "jobs"}); err != nil {
		t.Fatal(err)
	}
	sub, err := w.Subscribe("jobs", memory.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	store := newStore(t)
	_, err = runtime.New(sub, succeed, runtime.Options{Concurrency: -1, Middleware: []runtime.Middleware{
		middleware.Dedupe(store, day), middleware.Dedupe(store, day),
		middleware.RateLimit(middleware.RateLimitOptions{}),
	}})
	for _, want := range []string{"Concurrency", "Middleware[1]", "PerSecond"} {
		found := false
		for _, f := range fieldFaults(err) {
			found = found || f.Field == want
		}
		if !found {
			t.Errorf("%s is not reported in:\n%v", want, err)
		}
	}
}
