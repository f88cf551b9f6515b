package runtime

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// Ledger counts every delivery that the consumer received by what became of it.
// At every moment
//
//	Received = Acked + Retried + DeadLettered + Released + Lost + InFlight
//
// Retries that are held inside the process are one delivery, and appear when that
// delivery is settled.
type Ledger struct {
	Received     int64 `json:"received"`
	Acked        int64 `json:"acked"`
	Retried      int64 `json:"retried"`
	DeadLettered int64 `json:"dead_lettered"`
	Released     int64 `json:"released"`
	// Lost deliveries ended without a settlement: the lease ran out, the connection
	// broke, the handler was stuck. The broker delivers the message again. One whose
	// handler still runs is counted when that returns.
	Lost int64 `json:"lost"`
	// InFlight are received and not yet settled.
	InFlight int64 `json:"in_flight"`
	// Dropped is the part of Acked that a handler dropped with [Drop].
	Dropped int64 `json:"dropped"`
}

// String is the ledger's equation.
func (l Ledger) String() string {
	return fmt.Sprintf("%d received = %d acked + %d retried + %d dead-lettered + %d released + %d lost + %d in flight",
		l.Received, l.Acked, l.Retried, l.DeadLettered, l.Released, l.Lost, l.InFlight)
}

// Balanced says whether the ledger's equation holds.
func (l Ledger) Balanced() bool {
	return l.Received == l.Acked+l.Retried+l.DeadLettered+l.Released+l.Lost+l.InFlight
}

// Stats is a consumer at one moment.
type Stats struct {
	Ledger Ledger `json:"ledger"`
	// Running messages are in a handler, Ready ones wait for a worker, Blocked ones
	// wait behind another message of their key, Held ones for their next attempt,
	// Settling ones for the broker's confirmation. Their sum is Ledger.InFlight.
	Running  int `json:"running"`
	Ready    int `json:"ready"`
	Blocked  int `json:"blocked"`
	Held     int `json:"held"`
	Settling int `json:"settling"`
	// Bytes in flight.
	Bytes int `json:"bytes"`
	// Stuck is how many of Running were cancelled and have not returned.
	Stuck int `json:"stuck"`
	// Failures counts retries and dead letters by class.
	Failures map[failure.Class]FailureCount `json:"failures,omitempty"`
	// HandlerTime is a moving average of how long an attempt takes; 0 before the
	// first.
	HandlerTime time.Duration `json:"handler_time_ns"`
	// Queue is what the broker said last; see Options.StatsEvery.
	Queue broker.Stats `json:"queue"`
}

// FailureCount counts the settlements of one class of failure.
type FailureCount struct {
	// Retried counts retries through the broker, Held those inside the process.
	Retried      int64 `json:"retried"`
	Held         int64 `json:"held"`
	DeadLettered int64 `json:"dead_lettered"`
}

// Ledger returns the ledger.
func (c *Consumer) Ledger() Ledger {
	c.flight.mu.Lock()
	defer c.flight.mu.Unlock()
	return c.flight.ledgerNow()
}

// Lock held.
func (f *flight) ledgerNow() Ledger {
	l := &f.ledger
	return Ledger{
		Received:     l.received,
		Acked:        l.settled[broker.Ack],
		Retried:      l.settled[broker.Retry],
		DeadLettered: l.settled[broker.DeadLetter],
		Released:     l.settled[broker.Release],
		Lost:         l.lost,
		InFlight:     int64(f.inFlight()),
		Dropped:      l.dropped,
	}
}

// Stats returns the consumer's figures, all of one moment.
func (c *Consumer) Stats() Stats {
	f := c.flight
	queue, _ := c.queue.get()
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Stats{
		Ledger:      f.ledgerNow(),
		Running:     f.states[stateRunning],
		Ready:       f.states[stateReady],
		Blocked:     f.states[stateBlocked],
		Held:        f.states[stateHeld],
		Settling:    f.states[stateSettling],
		Bytes:       f.bytes,
		HandlerTime: max(f.handlerTime, 0),
		Queue:       queue,
	}
	if s.Running > 0 {
		s.Stuck = f.stuck()
	}
	for k, n := range f.ledger.byClass {
		if s.Failures == nil {
			s.Failures = map[failure.Class]FailureCount{}
		}
		count := s.Failures[k.class]
		switch k.action {
		case broker.Retry:
			count.Retried += n
		case broker.DeadLetter:
			count.DeadLettered += n
		case broker.Ack, broker.Release:
			continue
		}
		s.Failures[k.class] = count
	}
	for class, n := range f.ledger.held {
		if s.Failures == nil {
			s.Failures = map[failure.Class]FailureCount{}
		}
		count := s.Failures[class]
		count.Held = n
		s.Failures[class] = count
	}
	return s
}

// stuck counts attempts that were cancelled, or are past their deadline, and
// still run. Lock held.
func (f *flight) stuck() int {
	n := 0
	now := f.now()
	for t := f.all.first; t != nil; t = t.after {
		if t.state == stateRunning && (t.ended || now > f.attemptEnd(t, t.started)) {
			n++
		}
	}
	return n
}

// queueStats is what the broker said of the queue last. One poller asks, for
// metrics, health and Stats alike.
type queueStats struct {
	mu    sync.Mutex
	stats broker.Stats
	known bool
	waits time.Duration // since when messages have been ready without a pause; 0: they are not
}

func (q *queueStats) get() (broker.Stats, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stats, q.known
}

// waiting is since when the broker has had messages ready; false when it has none
// or does not tell.
func (q *queueStats) waiting() (time.Duration, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waits, q.waits > 0
}

func (q *queueStats) set(s broker.Stats, now time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stats, q.known = s, true
	if ready, known := s.Ready.Get(); !known || ready == 0 {
		q.waits = 0
	} else if q.waits == 0 {
		q.waits = max(now, 1)
	}
}

func (q *queueStats) forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stats, q.known, q.waits = broker.Stats{}, false, 0
}

// pollQueue asks the broker for the queue's stats until stop is closed. What is
// not known any more is unknown, not what it was.
func (c *Consumer) pollQueue(ctx context.Context, stop <-chan struct{}) {
	if c.opt.StatsEvery < 0 {
		return
	}
	tick := time.NewTicker(c.opt.StatsEvery)
	defer tick.Stop()
	for {
		asking, done := context.WithTimeout(ctx, c.opt.StatsEvery)
		s, err := c.sub.Stats(asking)
		done()
		if err == nil {
			c.queue.set(s, c.now())
		} else {
			c.queue.forget()
		}
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// stuckAfter is how long a handler may take to return after its context has
// ended before it is reported.
const stuckAfter = 5 * time.Second

// watchStuck reports each handler that ignores its cancellation, once, until stop
// is closed.
func (c *Consumer) watchStuck(stop <-chan struct{}) {
	f := c.flight
	tick := time.NewTicker(stuckAfter)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		now := c.now()
		var stuck []*broker.Delivery
		var running []time.Duration
		f.mu.Lock()
		for t := f.all.first; t != nil; t = t.after {
			if t.state == stateRunning && !t.reported && now > f.attemptEnd(t, t.started)+stuckAfter {
				t.reported = true
				stuck, running = append(stuck, t.running.d), append(running, now-t.started)
			}
		}
		f.mu.Unlock()
		for i, d := range stuck {
			c.log.Warn("handler ignores its cancellation; it keeps its worker, and its message until MaxLease",
				"queue", d.Source, "message_id", d.ID, "running_for", running[i].Round(time.Second))
		}
	}
}
