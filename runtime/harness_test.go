package runtime_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a memory broker with one queue, in a bubble where time is fake.
type world struct {
	*testing.T
	broker *memory.Broker
	queue  string
}

// inWorld runs a test in a bubble.
func inWorld(t *testing.T, q memory.Queue, body func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, broker: memory.New(memory.Options{}), queue: "jobs"}
		t.Cleanup(w.broker.Close)
		q.Name = w.queue
		if err := w.broker.Declare(q); err != nil {
			t.Fatal(err)
		}
		body(w)
	})
}

// publish sends messages with the given bodies and returns them.
func (w *world) publish(ms ...broker.Message) []*broker.Message {
	w.Helper()
	out := make([]*broker.Message, len(ms))
	for i := range ms {
		out[i] = &ms[i]
	}
	if err := w.broker.Publisher().Publish(w.Context(), w.queue, out...); err != nil {
		w.Fatal(err)
	}
	return out
}

func body(s string) broker.Message { return broker.Message{Body: []byte(s)} }

func keyed(key, s string) broker.Message { return broker.Message{Key: key, Body: []byte(s)} }

// worker is a running consumer.
type worker struct {
	*runtime.Consumer
	w    *world
	stop context.CancelFunc
	done chan struct{}
	err  error
}

func (w *world) subscribe(o memory.SubscribeOptions) *memory.Subscription {
	w.Helper()
	sub, err := w.broker.Subscribe(w.queue, o)
	if err != nil {
		w.Fatal(err)
	}
	return sub
}

// quiet is a logger that says nothing.
var quiet = slog.New(slog.DiscardHandler)

// run starts a consumer; it is stopped at the end of the test at the latest.
func (w *world) run(h runtime.Handler, o runtime.Options) *worker {
	w.Helper()
	return w.runOn(w.subscribe(memory.SubscribeOptions{}), h, o)
}

func (w *world) runOn(sub broker.Subscription, h runtime.Handler, o runtime.Options) *worker {
	w.Helper()
	if o.Logger == nil {
		o.Logger = quiet
	}
	c, err := runtime.New(sub, h, o)
	if err != nil {
		w.Fatal(err)
	}
	return w.start(c)
}

func (w *world) runBatch(h runtime.BatchHandler, o runtime.Options) *worker {
	w.Helper()
	o.Logger = quiet
	c, err := runtime.NewBatch(w.subscribe(memory.SubscribeOptions{}), h, o)
	if err != nil {
		w.Fatal(err)
	}
	return w.start(c)
}

func (w *world) start(c *runtime.Consumer) *worker {
	ctx, cancel := context.WithCancel(context.Background())
	x := &worker{Consumer: c, w: w, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(x.done)
		x.err = c.Run(ctx)
	}()
	w.Cleanup(func() { cancel(); <-x.done })
	return x
}

// shutdown stops the consumer and returns what Run returned.
func (x *worker) shutdown() error {
	x.stop()
	<-x.done
	return x.err
}

// wantLedger compares the ledger's interesting parts; Received and InFlight are
// checked by its balance.
func (x *worker) wantLedger(want runtime.Ledger) {
	x.w.Helper()
	got := x.Ledger()
	if !got.Balanced() {
		x.w.Errorf("the ledger does not balance: %+v", got)
	}
	got.Received = 0
	want.Received = 0
	if got != want {
		x.w.Errorf("ledger:\n got %+v\nwant %+v", got, want)
	}
}

// left returns what the queue and its dead-letter queue hold.
func (w *world) left() (queue, dead []memory.Stored) {
	w.Helper()
	queue, err := w.broker.Messages(w.queue)
	if err != nil {
		w.Fatal(err)
	}
	dead, err = w.broker.Messages(w.queue + ".dlq")
	if err != nil {
		w.Fatal(err)
	}
	return queue, dead
}

// wantLeft checks how many messages are where.
func (w *world) wantLeft(queue, dead int) {
	w.Helper()
	q, d := w.left()
	if len(q) != queue || len(d) != dead {
		w.Errorf("left in the queue %d, in the dead letters %d; want %d and %d", len(q), len(d), queue, dead)
	}
}

// record collects what handlers saw.
type record struct {
	mu    sync.Mutex
	lines []string
}

func (r *record) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *record) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.lines...)
}

func (r *record) count() int { return len(r.all()) }

// settleDown lets d of fake time pass and waits until everybody is idle.
func settleDown(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// noJitter makes waits predictable.
var noJitter = runtime.Backoff{Initial: time.Second, Max: time.Minute, Factor: 2, Jitter: -1}
