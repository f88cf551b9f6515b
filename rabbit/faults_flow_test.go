package rabbit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/internal/faultlab"
	"github.com/anyqueue/anyqueue/runtime"
)

// What flows: publishers send in batches while a consumer, of whose messages some
// fail once and a few always, works them off; somebody reads the dead letters.
const (
	flowMessages   = 20_000 // unless ANYQUEUE_FAULT_MESSAGES says otherwise
	flowPublishers = 2
	flowBatch      = 100
	flowPrefetch   = 100  // what can be unacknowledged when a connection is lost
	flowBrowsed    = 100  // what the reader of dead letters can hold then
	flowAhead      = 3000 // how far the publishers may be ahead of the handlers
	failsOnce      = 50   // every 50th message
	failsAlways    = 400  // of every 400 messages the last
)

// flow is a run of numbered messages through the whole runtime, with a ledger.
type flow struct {
	*testing.T
	server   string          // its address, without the proxy
	proxy    *faultlab.Proxy // what worker and publishers connect through
	queue    string
	settings Settings
	options  runtime.Options
	ledger   *faultlab.Ledger
	n        int
	work     func(ctx context.Context, d *broker.Delivery) error // nil: a moment
	losable  bool                                                // messages may be published to a queue that is not there

	end      *broker.Endpoint
	consumer *runtime.Consumer
	dead     broker.Subscription
	stop     context.CancelFunc
	running  sync.WaitGroup
	hold     sync.RWMutex // publishers hold it for reading
	slow     atomic.Int64 // pause of a publisher after a batch, in nanoseconds
	sent     atomic.Int64 // confirmed
	gone     atomic.Int64 // deleted with their queue
	handled  atomic.Int64 // finished runs of handlers

	mu       sync.Mutex
	sessions map[*broker.Session]int // deliveries that handlers saw, by session
	trouble  map[string]int          // why publishing failed, and how often
}

// faultMessages is how many messages flow through each fault.
func faultMessages(t *testing.T) int {
	t.Helper()
	text := os.Getenv("ANYQUEUE_FAULT_MESSAGES")
	if text == "" {
		return flowMessages
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1000 {
		t.Fatalf("ANYQUEUE_FAULT_MESSAGES is %q; it must be a number from 1000", text)
	}
	return n
}

// newFlow makes the queues on a server. Nothing flows before start.
func newFlow(t *testing.T, server string, change ...func(*flow)) *flow {
	t.Helper()
	n := faultMessages(t)
	f := &flow{
		T: t, server: server, proxy: newProxy(t, server), queue: unique("fault"), n: n,
		ledger:   faultlab.NewLedger(n, 0),
		sessions: make(map[*broker.Session]int), trouble: make(map[string]int),
	}
	f.settings = Settings{
		URL:      through(t, server, f.proxy),
		Prefetch: flowPrefetch,
		Delays:   []time.Duration{50 * time.Millisecond, 500 * time.Millisecond},
		Logger:   quiet,
	}
	f.options = runtime.Options{
		Concurrency: 20,
		// What the broker had pushed when a connection was lost counts as abandoned,
		// whether its handler ran or not.
		MaxAbandoned: 40,
		Retry:        runtime.RetryPolicy{MaxAttempts: 3, Backoff: runtime.Backoff{Initial: 50 * time.Millisecond}},
		StallAfter:   5 * time.Second,
		Logger:       quiet,
	}
	for _, c := range change {
		c(f)
	}
	makeQueues(t, server, f.settings, f.queue, f.options.Intent())
	return f
}

var quiet = slog.New(slog.DiscardHandler)

// start lets messages flow.
func (f *flow) start() {
	f.Helper()
	f.consume()
	ctx, stop := context.WithCancel(f.Context())
	f.stop = stop
	f.Cleanup(func() {
		stop()
		f.running.Wait()
	})
	var next atomic.Int64
	for range flowPublishers {
		f.running.Go(func() { f.publish(ctx, &next) })
	}
}

// consume starts the consumer and the reader of dead letters.
func (f *flow) consume() {
	f.Helper()
	var err error
	if f.end, err = Open(f.Context(), f.settings, f.queue, f.options.Intent()); err != nil {
		f.Fatal(err)
	}
	if f.dead, err = f.end.OpenDeadLetters(f.Context()); err != nil {
		f.Fatal(err)
	}
	if f.consumer, err = runtime.New(f.end.Subscription, f.handle, f.options); err != nil {
		f.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(f.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f.consumer.Run(ctx); err != nil {
			f.Errorf("the consumer ended with %v", err)
		}
	}()
	reading, stopReading := context.WithCancel(ctx)
	read := make(chan struct{})
	go func() {
		defer close(read)
		f.readDead(reading)
	}()
	f.Cleanup(func() {
		stopReading()
		<-read
		stop()
		<-done
		closing, cancel := context.WithTimeout(context.WithoutCancel(f.Context()), 10*time.Second)
		defer cancel()
		for what, c := range map[string]func(context.Context) error{"publisher": f.end.Publisher.Close, "dead letters": f.dead.Close} {
			if err := c(closing); err != nil {
				f.Errorf("close the %s: %v", what, err)
			}
		}
		if l := f.consumer.Ledger(); !l.Balanced() || l.InFlight != 0 {
			f.Errorf("the ledger of the consumer does not balance: %s", l)
		}
	})
}

// handle is the handler of the flow.
func (f *flow) handle(ctx context.Context, d *broker.Delivery) error {
	seq, err := strconv.Atoi(string(d.Body))
	if err != nil {
		f.Errorf("a message with body %q", d.Body)
		return runtime.Drop("not of this flow")
	}
	f.ledger.Started(seq)
	f.mu.Lock()
	f.sessions[d.Session]++
	f.mu.Unlock()
	if f.work != nil {
		if err := f.work(ctx, d); err != nil {
			return err
		}
	} else {
		time.Sleep(time.Millisecond)
	}
	switch {
	case seq%failsAlways == failsAlways-1:
		return errors.New("fails always")
	case seq%failsOnce == 0 && d.Attempt == 1:
		return errors.New("fails once")
	}
	f.ledger.Finished(seq)
	f.handled.Add(1)
	return nil
}

// readDead takes what comes into the dead-letter queue.
func (f *flow) readDead(ctx context.Context) {
	for ctx.Err() == nil {
		deliveries, err := f.dead.Receive(ctx, broker.Credit{Messages: 100, Bytes: 1 << 20})
		switch {
		case err != nil && broker.FinalReceive(err) && ctx.Err() == nil:
			f.Errorf("receive dead letters: %v", err)
			return
		case err != nil:
			pause(ctx, 100*time.Millisecond)
			continue
		}
		var acks []broker.Settlement
		for i := range deliveries {
			d := &deliveries[i]
			seq, err := strconv.Atoi(string(d.Body))
			if err != nil || d.Failure == nil || d.Failure.Count != f.options.Retry.MaxAttempts {
				f.Errorf("dead letter %q with the record %+v", d.Body, d.Failure)
			}
			f.ledger.DeadLettered(seq)
			f.handled.Add(1)
			acks = append(acks, broker.Settlement{Delivery: d, Action: broker.Ack})
		}
		if err := f.dead.Settle(ctx, acks); err != nil && !errors.Is(err, broker.ErrLeaseLost) && ctx.Err() == nil {
			f.Errorf("acknowledge dead letters: %v", err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// publish sends its share of the messages, each until it is confirmed.
func (f *flow) publish(ctx context.Context, next *atomic.Int64) {
	for ctx.Err() == nil {
		last := int(next.Add(flowBatch))
		first := last - flowBatch
		if first >= f.n {
			return
		}
		for f.sent.Load()-f.handled.Load()-f.gone.Load() > flowAhead && ctx.Err() == nil {
			pause(ctx, time.Millisecond)
		}
		var batch []*broker.Message
		for seq := first; seq < min(last, f.n); seq++ {
			batch = append(batch, &broker.Message{Body: []byte(strconv.Itoa(seq))})
		}
		for len(batch) > 0 && ctx.Err() == nil {
			if batch = f.send(ctx, batch); len(batch) > 0 {
				pause(ctx, 50*time.Millisecond)
			}
		}
		pause(ctx, time.Duration(f.slow.Load()))
	}
}

// during does something that takes seconds while messages flow so slowly that they
// do not run out: about 500 a second.
func (f *flow) during(do func()) {
	f.slow.Store(int64(400 * time.Millisecond))
	defer f.slow.Store(0)
	do()
	if f.sent.Load() >= int64(f.n) {
		f.Errorf("all messages were published before it was over: this was no fault under load")
	}
}

// send publishes a batch once and returns what is not known to be safe.
func (f *flow) send(ctx context.Context, batch []*broker.Message) (again []*broker.Message) {
	f.hold.RLock()
	defer f.hold.RUnlock()
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := f.end.Publisher.Publish(limited, f.queue, batch...)
	failed, _ := errors.AsType[*broker.PublishError](err)
	if err != nil && failed == nil {
		f.Errorf("publish: %v", err)
		return nil
	}
	fate := make(map[int]error)
	if failed != nil {
		for _, e := range failed.Failed {
			fate[e.Index] = e.Err
		}
	}
	for i, m := range batch {
		if err := fate[i]; err != nil {
			f.note(ctx, err)
			again = append(again, m)
			continue
		}
		seq, _ := strconv.Atoi(string(m.Body))
		f.ledger.Published(seq)
		f.sent.Add(1)
	}
	return again
}

// note counts why publishing failed. A fault of the broker passes: what says that
// trying again is of no use would make a publisher give a message up.
func (f *flow) note(ctx context.Context, err error) {
	category := "other"
	switch {
	case errors.Is(err, broker.ErrDisconnected):
		category = "disconnected"
	case errors.Is(err, broker.ErrFull):
		category = "full"
	case errors.Is(err, broker.ErrNotFound) && f.losable:
		category = "not found"
	case errors.Is(err, context.DeadlineExceeded):
		category = "deadline"
	case ctx.Err() == nil:
		f.Errorf("publish: %v", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trouble[category]++
}

// patience is how long anything may take.
func (f *flow) patience() time.Duration {
	return 30*time.Second + time.Duration(f.n)*2*time.Millisecond
}

// reach waits until a part of the messages is done.
func (f *flow) reach(part float64) {
	f.Helper()
	f.await(fmt.Sprintf("%.0f%% of the messages are done", 100*part), func() bool { return float64(f.handled.Load()) >= part*float64(f.n) })
}

// await waits for a condition.
func (f *flow) await(what string, reached func() bool) {
	f.Helper()
	for deadline := time.Now().Add(f.patience()); !reached(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.Fatalf("%s: not within %s; %d confirmed, %d handled, publishing failed with %v; consumer: %s, %s", what, f.patience(),
				f.sent.Load(), f.handled.Load(), f.troubles(), f.consumer.Ledger(), f.consumer.Health())
		}
	}
}

func (f *flow) troubles() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprint(f.trouble)
}

// sessionsSeen is on how many sessions handlers got messages.
func (f *flow) sessionsSeen() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sessions)
}

// mayRepeat allows the duplicates of so many losses of all connections: what was
// not acknowledged, or acknowledged and not yet read by the broker, comes again,
// and what was published and not confirmed is published again.
func (f *flow) mayRepeat(losses int, cause string) {
	const each = flowPrefetch + flowBrowsed + flowPublishers*flowBatch
	f.ledger.Allow(losses*each, fmt.Sprintf("%s, %d times with at most %d unacknowledged, %d of them dead letters, and %d unconfirmed",
		cause, losses, flowPrefetch+flowBrowsed, flowBrowsed, flowPublishers*flowBatch))
}

// finish waits until everything has its outcome and nothing is left anywhere, and
// checks the ledger.
func (f *flow) finish() {
	f.Helper()
	f.await("everything is published", func() bool { return f.sent.Load() >= int64(f.n) })
	ctx, cancel := context.WithTimeout(f.Context(), f.patience())
	defer cancel()
	if err := f.ledger.Wait(ctx); err != nil {
		f.Errorf("%v; consumer: %s, %s", err, f.consumer.Ledger(), f.consumer.Health())
	}
	f.await("the queues are empty", func() bool {
		return f.consumer.Ledger().InFlight == 0 && f.left() == 0
	})
	f.check()
}

// check judges the ledger.
func (f *flow) check() {
	f.Helper()
	if err := f.ledger.Check(); err != nil {
		f.Error(err)
	}
	f.Logf("%+v; %d sessions; publishing failed with %s; consumer: %s",
		f.ledger.Totals(), f.sessionsSeen(), f.troubles(), f.consumer.Ledger())
	if h := f.consumer.Health(); !h.Healthy {
		f.Errorf("after the fault: %s", h)
	}
}

// left is how many messages wait in all queues of the flow.
func (f *flow) left() (n int) {
	for _, count := range f.depths() {
		n += count
	}
	return n
}

// depths asks the server for what is ready in the flow's queues.
func (f *flow) depths() map[string]int {
	depths := make(map[string]int)
	s := f.settings.withDefaults()
	top, err := newTopology(&s, f.queue, f.options.Intent())
	if err != nil {
		f.Error(err)
		return nil
	}
	f.onServer(func(ch *amqp.Channel) error {
		for _, q := range top.queues {
			state, err := ch.QueueDeclarePassive(q.name, true, false, false, false, nil)
			if err != nil {
				return err
			}
			depths[q.name] = state.Messages
		}
		return nil
	})
	return depths
}

// onServer does something on a channel of its own.
func (f *flow) onServer(do func(*amqp.Channel) error) {
	f.Helper()
	onServer(f.T, f.server, func(c *amqp.Connection) error {
		ch, err := c.Channel()
		if err != nil {
			return err
		}
		return do(ch)
	})
}
