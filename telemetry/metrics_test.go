package telemetry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// Attempts are told apart by error.type; a success has none, nor has what was
// dropped or released on purpose.
func TestProcessedKeepsErrorTypesApart(t *testing.T) {
	l := newLab()
	w, ctx := l.worker(t), t.Context()
	w.Processed(ctx, time.Second, "", nil)
	w.Processed(ctx, time.Second, "", errors.New("released on purpose"))
	w.Processed(ctx, 2*time.Second, failure.ClassDependency, fmt.Errorf("pay: %w", &net.OpError{Op: "dial", Err: errors.New("x")}))
	w.Processed(ctx, 4*time.Second, failure.ClassTimeout, nil)
	all := l.collect(t)
	wantValue(t, all, MetricProcessDuration, 2, "error.type", "*net.OpError")
	wantValue(t, all, MetricProcessDuration, 4, "error.type", "timeout")
	success := 0
	for _, p := range find(all, MetricProcessDuration, "messaging.operation.name", "process", "messaging.system", "rabbitmq",
		"messaging.destination.name", "orders", "server.address", "mq.example") {
		if !p.attrs.HasValue("error.type") && p.value == 2 && p.count == 2 {
			success++
		}
	}
	if success != 1 || len(find(all, MetricProcessDuration)) != 3 {
		t.Errorf("durations: %v", find(all, MetricProcessDuration))
	}
}

// Measuring a successful message allocates nothing.
func TestHotPathAllocatesNothing(t *testing.T) {
	l := newLab()
	w, ctx := l.worker(t), t.Context()
	for name, f := range map[string]func(){
		"Processed":   func() { w.Processed(ctx, time.Second, "", nil) },
		"Waits":       func() { w.Waits(ctx, time.Second, time.Second) },
		"Completed":   func() { w.Completed(ctx, time.Second, broker.Ack) },
		"Retried":     func() { w.Retried(failure.ClassData, true) },
		"SettleCall":  func() { w.SettleCall(ctx, broker.Ack, time.Second, nil) },
		"ReceiveCall": func() { w.ReceiveCall(ctx, time.Second, nil) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// What is unknown is not recorded, never as 0: negative, and what time.Since
// makes of the zero time. A publisher's clock that is ahead gives 0.
func TestUnknownAgesAreAbsent(t *testing.T) {
	l := newLab()
	w, ctx, now := l.worker(t), t.Context(), time.Now()
	for _, age := range []time.Duration{Unknown, time.Since(time.Time{}), Age(&broker.Message{}, now)} {
		w.Waits(ctx, Unknown, age)
		w.Completed(ctx, age, broker.Ack)
	}
	w.Completed(ctx, time.Second, 0)
	w.Completed(ctx, time.Second, 77)
	all := l.collect(t)
	for _, name := range []string{MetricDispatchWait, MetricMessageWait, MetricCompletion} {
		wantAbsent(t, all, name)
	}
	if age := Age(&broker.Message{PublishedAt: now.Add(time.Minute)}, now); age != 0 {
		t.Errorf("age of a message from the future is %v", age)
	}
	if age := Age(&broker.Message{PublishedAt: now.Add(-time.Minute)}, now); age != time.Minute {
		t.Errorf("age is %v, want 1m", age)
	}
	w.Completed(ctx, 0, broker.DeadLetter)
	if found := find(l.collect(t), MetricCompletion, "outcome", "dead_letter"); len(found) != 1 || found[0].count != 1 {
		t.Errorf("an age of 0 is known: %v", found)
	}
}

// The boundaries are the advised ones unless the configuration has others.
func TestBucketsAreExplicitAndConfigurable(t *testing.T) {
	for _, own := range [][]float64{nil, {1, 60, 600}} {
		l := newLab()
		l.config.Buckets = Buckets{Process: own, Operation: own, Dispatch: own, Age: own}
		exercise(t, l)
		all := l.collect(t)
		for name, def := range map[string][]float64{
			MetricProcessDuration: advisedBuckets, MetricOperationDuration: advisedBuckets,
			MetricDispatchWait: dispatchBuckets, MetricMessageWait: ageBuckets, MetricCompletion: ageBuckets,
		} {
			want := own
			if own == nil {
				want = def
			}
			for _, p := range find(all, name) {
				if !slices.Equal(p.bounds, want) {
					t.Errorf("%s has boundaries %v, want %v", name, p.bounds, want)
				}
			}
		}
	}
}

// The metrics of one collection balance as the ledger does, whatever happens
// between collections and however many readers there are, and the last counts of
// a consumer that has ended reach a collection that comes later.
func TestLedgerBalancesInEveryCollection(t *testing.T) {
	const seeds = 500
	for seed := range uint64(seeds) {
		r := rand.New(rand.NewPCG(seed, 2))
		readers := []*sdkmetric.ManualReader{sdkmetric.NewManualReader(), sdkmetric.NewManualReader()}
		l := newLab()
		l.config.Meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(readers[0]), sdkmetric.WithReader(readers[1]))
		w := l.worker(t)
		s := Snapshot{Limit: 10, Status: StatusRunning}
		unregister, err := w.Observe(func() Snapshot { return s })
		if err != nil {
			t.Fatal(err)
		}
		step := func() {
			for range r.IntN(20) {
				s.Received++
				s.Active++
			}
			for ; s.Active > 0 && r.IntN(10) > 0; s.Active-- {
				class := r.IntN(NumClasses)
				switch r.IntN(5) {
				case 0:
					s.Acked++
				case 1:
					s.Released++
				case 2:
					s.Lost++
				case 3:
					s.Retried[class]++
				default:
					s.DeadLettered[class]++
				}
			}
		}
		check := func(reader int, inFlight int64) {
			all := collect(t, readers[reader])
			received, settled := total(all, MetricConsumed), total(all, MetricSettlements)
			if received != float64(s.Received) || received != settled+float64(inFlight) {
				t.Fatalf("seed %d: %v received, %v settled, %d in flight", seed, received, settled, inFlight)
			}
			for i, class := range failure.Classes() {
				if got := total(all, MetricSettlements, "outcome", "retry", "failure.class", string(class)); got != float64(s.Retried[i]) {
					t.Fatalf("seed %d: %v retries of class %s, want %d", seed, got, class, s.Retried[i])
				}
			}
		}
		for range r.IntN(8) {
			step()
			check(r.IntN(2), s.Active)
		}
		step()
		for range 2 {
			if err := unregister(); err != nil {
				t.Fatal(err)
			}
		}
		check(0, s.Active)
		check(1, s.Active)
		wantAbsent(t, collect(t, readers[0]), MetricActive)
		wantAbsent(t, collect(t, readers[0]), MetricStatus)
	}
}

// Readers that collect at the same moment neither lose nor repeat a count.
func TestConcurrentCollectionsCountOnce(t *testing.T) {
	readers := []*sdkmetric.ManualReader{sdkmetric.NewManualReader(), sdkmetric.NewManualReader(), sdkmetric.NewManualReader()}
	l := newLab()
	l.config.Meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(readers[0]), sdkmetric.WithReader(readers[1]), sdkmetric.WithReader(readers[2]))
	w := l.worker(t)
	var mu sync.Mutex
	var s Snapshot
	unregister, err := w.Observe(func() Snapshot {
		mu.Lock()
		defer mu.Unlock()
		s.Received += 3
		s.Acked += 2
		s.Retried[1]++
		return s
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, r := range readers {
		wg.Go(func() {
			for range 200 {
				collect(t, r)
			}
		})
	}
	wg.Wait()
	if err := unregister(); err != nil {
		t.Fatal(err)
	}
	for _, r := range readers {
		all := collect(t, r)
		wantValue(t, all, MetricConsumed, float64(s.Received))
		wantValue(t, all, MetricSettlements, float64(s.Acked), "outcome", "ack")
		wantValue(t, all, MetricSettlements, float64(s.Retried[1]), "outcome", "retry", "failure.class", "dependency")
	}
}

// sumCounter adds up what it is given.
type sumCounter struct {
	noop.Int64Counter
	sum, least atomic.Int64
}

func (c *sumCounter) Add(_ context.Context, n int64, _ ...metric.AddOption) {
	c.sum.Add(n)
	c.least.Store(min(c.least.Load(), n))
}

// A tally exports a total once, never takes anything back, and loses nothing when
// several flush it at the same time.
func TestTallyExportsEachCountOnce(t *testing.T) {
	c := &sumCounter{}
	tally := newTally(c, nil)
	for _, step := range [][2]int64{{10, 10}, {5, 10}, {10, 10}, {12, 12}} {
		tally.flush(t.Context(), step[0])
		if got := c.sum.Load(); got != step[1] {
			t.Fatalf("after a flush of %d the sum is %d, want %d", step[0], got, step[1])
		}
	}
	var ledger atomic.Int64
	ledger.Store(12)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50_000 {
				tally.flush(t.Context(), ledger.Add(1))
			}
		})
	}
	wg.Wait()
	if got := c.sum.Load(); got != ledger.Load() || c.least.Load() < 0 {
		t.Errorf("exported %d of %d, smallest step %d", got, ledger.Load(), c.least.Load())
	}
}

// A consumer is in one state: 1 for that and 0 for the others. Limit and
// utilization are absent where there is no limit.
func TestStateOfAConsumer(t *testing.T) {
	l := newLab()
	s := Snapshot{Active: 3, Limit: 4, Status: StatusPaused}
	unregister, err := l.worker(t).Observe(func() Snapshot { return s })
	if err != nil {
		t.Fatal(err)
	}
	all := l.collect(t)
	for _, state := range statuses {
		want := 0.0
		if state == StatusPaused {
			want = 1
		}
		wantValue(t, all, MetricStatus, want, "state", state)
	}
	wantValue(t, all, MetricUtilization, 0.75, "destination", "orders", "consumer", "billing")
	wantValue(t, all, MetricLimit, 4)

	s.Limit, s.Status = 0, ""
	all = l.collect(t)
	for _, name := range []string{MetricLimit, MetricUtilization, MetricStatus} {
		wantAbsent(t, all, name)
	}
	if err := unregister(); err != nil {
		t.Fatal(err)
	}
}

// What the broker does not tell about the queue is absent, and so is everything
// while there is no answer. The numbers belong to the queue, not to a consumer.
func TestUnknownQueueNumbersAreAbsent(t *testing.T) {
	l := newLab()
	var stats broker.Stats
	var known bool
	unregister, err := l.worker(t).ObserveQueue(func() (broker.Stats, bool) { return stats, known })
	if err != nil {
		t.Fatal(err)
	}
	queue := []string{MetricQueueMessages, MetricQueueOldestAge, MetricDeadLetterMessages}
	absent := func() {
		t.Helper()
		all := l.collect(t)
		for _, name := range queue {
			wantAbsent(t, all, name)
		}
	}
	absent()
	known = true
	absent()
	stats = broker.Stats{Ready: broker.Known[int64](0), OldestAge: broker.Known(1500 * time.Millisecond)}
	all := l.collect(t)
	wantValue(t, all, MetricQueueMessages, 0) // one series: the others are unknown
	wantValue(t, all, MetricQueueMessages, 0, "state", "ready", "destination", "orders")
	wantValue(t, all, MetricQueueOldestAge, 1.5)
	wantAbsent(t, all, MetricDeadLetterMessages)
	wantAbsent(t, all, MetricQueueMessages, "consumer", "billing")
	for range 2 {
		if err := unregister(); err != nil {
			t.Fatal(err)
		}
	}
	absent()
}

// Retries, dead letters, leases and reconnects are counted with their reason.
func TestCountersOfAWorker(t *testing.T) {
	l := newLab()
	w := l.worker(t)
	w.Retried(failure.ClassResource, true)
	w.Retried(failure.ClassResource, false)
	w.Retried("no such class", false)
	w.DeadLettered(failure.ClassFormat, "*json.SyntaxError")
	w.DeadLettered(failure.ClassCrash, "")
	w.LeaseExtended(3)
	w.LeaseExtended(0)
	w.LeaseExtended(-1)
	w.LeaseLost("expired")
	w.Reconnected(ErrorType(broker.ErrDisconnected))
	all := l.collect(t)
	wantValue(t, all, MetricRetries, 1, "failure.class", "resource", "mode", "held")
	wantValue(t, all, MetricRetries, 1, "failure.class", "resource", "mode", "broker")
	wantValue(t, all, MetricRetries, 1, "failure.class", "unclassified")
	wantValue(t, all, MetricDeadLetters, 1, "failure.class", "format", "error.type", "*json.SyntaxError")
	wantValue(t, all, MetricDeadLetters, 1, "failure.class", "crash")
	wantAbsent(t, all, MetricDeadLetters, "failure.class", "crash", "error.type", "")
	wantValue(t, all, MetricLeaseExtensions, 3)
	wantValue(t, all, MetricLeaseLosses, 1, "reason", "expired")
	wantValue(t, all, MetricReconnects, 1, "error.type", "disconnected")
}

// Each system has its own words for its operations; where the broker pushes, no
// receive is recorded.
func TestOperationsHaveTheSystemsOwnNames(t *testing.T) {
	for system, want := range map[string][5]string{ // receive, ack, retry, dead_letter, release
		"rabbitmq":        {"", "ack", "ack", "ack", "nack"},
		"aws_sqs":         {"receive", "delete", "change_visibility", "delete", "change_visibility"},
		"kafka":           {"poll", "commit", "commit", "commit", "commit"},
		"anyqueue_memory": {"receive", "ack", "retry", "dead_letter", "release"},
	} {
		for action := broker.Action(0); action <= broker.Release; action++ {
			l := newLab()
			l.config.System = system
			w := l.worker(t)
			kind := "settle"
			if action == 0 {
				kind = "receive"
				w.ReceiveCall(t.Context(), time.Second, nil)
			}
			w.SettleCall(t.Context(), action, time.Second, nil)
			all := l.collect(t)
			if want[action] == "" {
				wantAbsent(t, all, MetricOperationDuration)
				continue
			}
			wantValue(t, all, MetricOperationDuration, 1, "messaging.operation.name", want[action], "messaging.operation.type", kind)
		}
	}
}

// An error that gives itself a new type each time does not grow a metric without
// bound, and success stays apart from failure.
func TestErrorTypesStayBounded(t *testing.T) {
	l := newLab()
	w := l.worker(t)
	const n = 5 * limitErrorTypes
	for i := range n {
		err := namedError(fmt.Sprint("type-", i))
		w.Processed(t.Context(), time.Second, failure.ClassBug, err)
		w.DeadLettered(failure.ClassBug, ErrorType(err))
		w.Reconnected(ErrorType(err))
		w.LeaseLost(fmt.Sprint(i))
		w.SettleCall(t.Context(), broker.Ack, time.Second, err)
	}
	w.Processed(t.Context(), time.Second, "", nil)
	all := l.collect(t)
	for name, limit := range map[string]int{
		MetricProcessDuration: limitErrorTypes + 2, MetricDeadLetters: limitErrorTypes + 1, MetricReconnects: limitErrorTypes + 1,
		MetricLeaseLosses: limitReasons + 1, MetricOperationDuration: limitErrorTypes + 1,
	} {
		if series := len(find(all, name)); series > limit {
			t.Errorf("%s has %d series, want at most %d", name, series, limit)
		}
	}
	if got := total(all, MetricDeadLetters); got != n {
		t.Errorf("%v dead letters counted, want %d", got, n)
	}
	if found := find(all, MetricProcessDuration, "error.type", "_OTHER"); len(found) != 1 || found[0].count != n-limitErrorTypes {
		t.Errorf("the rest: %v", found)
	}
}

// A result that is not of the set counts as an error.
func TestDedupeCountsItsResults(t *testing.T) {
	l := newLab()
	d, err := NewDedupe(l.config)
	if err != nil {
		t.Fatal(err)
	}
	d.Checked(t.Context(), DedupeNew)
	d.Checked(t.Context(), DedupeError)
	d.Checked(t.Context(), "no such result")
	all := l.collect(t)
	wantValue(t, all, MetricDedupeChecks, 1, "result", "new", "consumer", "billing")
	wantValue(t, all, MetricDedupeChecks, 2, "result", "error")
}

// Many goroutines may ask for new and known series at the same time; each gets
// its own, and no more are kept than allowed.
func TestBoundedKeepsItsLimitUnderConcurrency(t *testing.T) {
	const limit = 8
	b := newBounded(limit, func(k int) int { return -k }, func(k int) int { return k % 2 })
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 3))
			for range 2000 {
				k := r.IntN(50)
				if v := b.get(k); v != -k && v != -(k%2) {
					t.Errorf("get(%d) = %d", k, v)
				}
			}
		})
	}
	wg.Wait()
	if n := len(*b.known.Load()); n > limit+2 {
		t.Errorf("%d kept, want at most %d", n, limit+2)
	}
}
