package rabbit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/internal/faultlab"
	"github.com/anyqueue/anyqueue/runtime"
)

// Variables of a worker in a process of its own.
const (
	workerURL   = "ANYQUEUE_TEST_WORKER_URL"
	workerQueue = "ANYQUEUE_TEST_WORKER_QUEUE"
)

// workerOptions are the same in the test and in its workers.
var workerOptions = runtime.Options{
	Concurrency:  50,
	MaxAbandoned: 3,
	DrainTimeout: -1, // what runs is cancelled and given back
	Retry:        runtime.RetryPolicy{MaxAttempts: 6, Backoff: runtime.Backoff{Initial: 20 * time.Millisecond}},
	Logger:       quiet,
}

// workerSettings keep the prefetch at the concurrency, so that what is abandoned
// was being handled.
func workerSettings(url string) Settings {
	return Settings{URL: broker.NewSecret(url), Prefetch: 50, Delays: []time.Duration{400 * time.Millisecond}, Logger: quiet}
}

// workerProgram consumes until it is stopped or killed. Bodies say what its handler
// does: "slow", "hang" and "fail", with anything after it, or else a number that is
// done at once. It prints what happens.
func workerProgram(ctx context.Context) error {
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	end, err := Open(ctx, workerSettings(os.Getenv(workerURL)), os.Getenv(workerQueue), workerOptions.Intent())
	if err != nil {
		return err
	}
	defer end.Publisher.Close(context.WithoutCancel(ctx))
	c, err := runtime.New(end.Subscription, func(ctx context.Context, d *broker.Delivery) error {
		body := string(d.Body)
		if seq, err := strconv.Atoi(body); err == nil {
			say("%s", faultlab.Started.Line(seq))
			say("%s", faultlab.Finished.Line(seq))
			return nil
		}
		say("run %s %d %d", body, d.Attempt, d.Abandoned)
		switch {
		case strings.HasPrefix(body, "slow"):
			select {
			case <-time.After(1500 * time.Millisecond):
				say("done %s %d", body, d.Attempt)
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		case strings.HasPrefix(body, "hang"):
			<-ctx.Done()
			return ctx.Err()
		}
		return errors.New("fails always")
	}, workerOptions)
	if err != nil {
		return errors.Join(err, end.Subscription.Close(ctx))
	}
	return c.Run(ctx)
}

// crew is a queue and workers in processes of their own.
type crew struct {
	*testing.T
	server, queue string
	publisher     *Publisher

	mu    sync.Mutex
	lines []string
	enter func(line string) bool // nil, or takes lines away
}

func newCrew(t *testing.T) *crew {
	t.Helper()
	server := faultlab.Need(t, lines["3"])
	c := &crew{T: t, server: server, queue: unique("worker")}
	makeQueues(t, server, workerSettings(server), c.queue, workerOptions.Intent())
	var err error
	if c.publisher, err = NewPublisher(t.Context(), workerSettings(server)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.publisher.Close(context.WithoutCancel(t.Context())) })
	return c
}

func (c *crew) publish(bodies ...string) {
	c.Helper()
	var messages []*broker.Message
	for _, body := range bodies {
		messages = append(messages, &broker.Message{Body: []byte(body)})
	}
	if err := c.publisher.Publish(c.Context(), c.queue, messages...); err != nil {
		c.Error(err)
	}
}

// hire starts a worker and gathers what it says.
func (c *crew) hire() *faultlab.Child {
	c.Helper()
	child := faultlab.Start(c.T, "worker", workerURL+"="+c.server, workerQueue+"="+c.queue)
	go func() {
		for line := range child.Lines() {
			c.mu.Lock()
			if c.enter == nil || !c.enter(line) {
				c.lines = append(c.lines, line)
			}
			c.mu.Unlock()
		}
	}()
	return child
}

// said returns the lines that begin with something.
func (c *crew) said(prefix string) (said []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, line := range c.lines {
		if strings.HasPrefix(line, prefix) {
			said = append(said, line)
		}
	}
	return said
}

// await waits until so many lines begin with something.
func (c *crew) await(n int, prefix string) []string {
	c.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if said := c.said(prefix); len(said) >= n {
			return said
		}
		if time.Now().After(deadline) {
			c.Fatalf("waited for %d lines %q; the workers said %q", n, prefix, c.said(""))
		}
	}
}

// dead waits for a dead letter, takes it, and makes sure that it is the only one.
func (c *crew) dead() (m broker.Message, record *failure.Record) {
	c.Helper()
	c.onServer(func(ch *amqp.Channel) error {
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			d, ok, err := ch.Get(c.queue+".dlq", true)
			switch {
			case err != nil:
				return err
			case ok:
				record = decode(&d, &m).failure
				if _, more, err := ch.Get(c.queue+".dlq", true); more || err != nil {
					c.Errorf("a second dead letter (%v, %v)", more, err)
				}
				return nil
			}
		}
		return fmt.Errorf("no dead letter; the workers said %q", c.said(""))
	})
	return m, record
}

// stored waits until a message lies in a queue.
func (c *crew) stored(queue string) {
	c.Helper()
	c.onServer(func(ch *amqp.Channel) error {
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
			if q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil); err != nil || q.Messages > 0 {
				return err
			}
		}
		return fmt.Errorf("no message came into %s; the workers said %q", queue, c.said(""))
	})
}

func (c *crew) onServer(do func(*amqp.Channel) error) {
	c.Helper()
	onServer(c.T, c.server, func(conn *amqp.Connection) error {
		ch, err := conn.Channel()
		if err != nil {
			return err
		}
		return do(ch)
	})
}

// A message whose worker is killed with kill -9 in its handler comes again, and
// the crash is counted apart from its attempts; nothing else is lost.
func TestMessageOfAKilledWorkerComesAgain(t *testing.T) {
	t.Parallel()
	n := faultMessages(t)
	ledger := faultlab.NewLedger(n, 0)
	c := newCrew(t)
	c.enter = ledger.Record
	worker := c.hire()
	c.publish("hang")
	var publishing sync.WaitGroup
	defer publishing.Wait()
	publishing.Go(func() {
		for first := 0; first < n; first += 100 {
			var bodies []string
			for seq := first; seq < min(first+100, n); seq++ {
				bodies = append(bodies, strconv.Itoa(seq))
			}
			c.publish(bodies...)
			for seq := first; seq < min(first+100, n); seq++ {
				ledger.Published(seq)
			}
		}
	})
	const kills = 3
	for i := range kills {
		c.await(i+1, "run hang")
		for began := time.Now(); ledger.Totals().Finished < n*(i+1)/(kills+2); time.Sleep(50 * time.Millisecond) {
			if time.Since(began) > 30*time.Second+time.Duration(n)*2*time.Millisecond {
				t.Fatalf("before kill %d: %+v", i+1, ledger.Totals())
			}
		}
		if err := worker.Kill(); err != nil {
			t.Fatal(err)
		}
		ledger.Allow(50, "kill -9 with a prefetch of 50")
		worker = c.hire()
	}
	runs := c.await(kills+1, "run hang")
	for i, run := range runs {
		if want := fmt.Sprintf("run hang 1 %d", i); run != want {
			t.Errorf("the worker said %q, want %q", run, want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second+time.Duration(n)*2*time.Millisecond)
	defer cancel()
	if err := ledger.Wait(ctx); err != nil {
		t.Error(err)
	}
	if err := ledger.Check(); err != nil {
		t.Error(err)
	}
	t.Logf("%+v", ledger.Totals())
	stop(t, worker)
}

func stop(t *testing.T, worker *faultlab.Child) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	if err := worker.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// A message that always takes its process with it is dead-lettered with class
// crash once MaxAbandoned is exceeded, and without being run again.
func TestMessageThatKillsEveryWorkerIsDeadLetteredAsACrash(t *testing.T) {
	t.Parallel()
	c := newCrew(t)
	c.publish("hang")
	for i := range workerOptions.MaxAbandoned + 1 {
		worker := c.hire()
		c.await(i+1, "run hang")
		if err := worker.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	worker := c.hire()
	m, record := c.dead()
	if record == nil || record.Class != failure.ClassCrash || string(m.Body) != "hang" {
		t.Errorf("dead letter %q with the record %+v", m.Body, record)
	}
	if runs := c.said("run hang"); len(runs) != workerOptions.MaxAbandoned+1 {
		t.Errorf("the handler ran %d times: %q", len(runs), runs)
	}
	stop(t, worker)
}

// A handler that always fails is run exactly MaxAttempts times and then
// dead-lettered with its record, though its worker is stopped and killed between
// the attempts.
func TestBudgetOfAttemptsOutlivesWorkers(t *testing.T) {
	t.Parallel()
	c := newCrew(t)
	c.publish("fail")
	last := workerOptions.Retry.MaxAttempts
	for i := range last {
		worker := c.hire()
		c.await(i+1, "run fail")
		// A worker that ends between the end of its handler and the storing of the outcome
		// repeats the attempt: that is another rule.
		if c.stored(c.queue + map[bool]string{true: ".dlq", false: ".retry.400"}[i+1 == last]); i%2 == 0 {
			stop(t, worker)
		} else if err := worker.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	if _, r := c.dead(); r == nil || r.Count != last || len(r.Attempts) != r.Count || r.Chain[0].Message != "fails always" {
		t.Errorf("the record is %+v", r)
	}
	runs := c.said("run fail")
	for i, run := range runs {
		if want := fmt.Sprintf("run fail %d 0", i+1); run != want {
			t.Errorf("run %d said %q, want %q", i+1, run, want)
		}
	}
	if len(runs) != last {
		t.Errorf("%d runs, want %d: %q", len(runs), last, runs)
	}
}

// A message that is under way at every one of 20 rolling restarts spends no
// attempt by that, leaves no trace of a crash, and is done in the end.
func TestRollingRestartsSpendNoAttempt(t *testing.T) {
	t.Parallel()
	const restarts = 20
	c := newCrew(t)
	c.publish("slow")
	worker := c.hire()
	for i := range restarts {
		c.await(i+1, "run slow")
		next := c.hire() // rolling: the next one is there before the last one goes
		stop(t, worker)
		worker = next
	}
	done := c.await(1, "done slow")
	if done[0] != "done slow 1" {
		t.Errorf("it was done as %q", done[0])
	}
	runs := c.said("run slow")
	for _, run := range runs {
		if run != "run slow 1 0" {
			t.Errorf("a run after a restart in good order said %q", run)
		}
	}
	if len(runs) != restarts+1 {
		t.Errorf("%d runs with %d restarts", len(runs), restarts)
	}
	stop(t, worker)
}
