package runtime

import (
	"context"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/telemetry"
)

// The pause before a failed settlement is tried again. The message stays leased
// meanwhile, which is what keeps it safe.
//
// A settlement that the broker will never carry out (a dead letter that is too
// large with its record, say) is tried with what can be left out of it, and then
// rarely: somebody has to change something, and health says so at once.
const (
	firstSettlePause = 100 * time.Millisecond
	maxSettlePause   = 5 * time.Second
	maxRefusedPause  = 5 * time.Minute
)

// settleLoop carries out verdicts until stop is closed. There is no fixed batch:
// while a call is under way the next batch gathers, so that batches grow with the
// load and a lone message does not wait. Only where the broker asks for it
// (SettleLinger) does a batch wait to be filled.
func (c *Consumer) settleLoop(ctx context.Context, stop <-chan struct{}) {
	s := settler{c: c, most: max(c.cap.MaxSettle, 1)}
	for {
		select {
		case <-stop:
			return
		case <-c.flight.wakeup.settle:
		}
		for {
			if c.cap.SettleLinger > 0 {
				s.linger(stop)
			}
			if !s.take() {
				break
			}
			s.settle(ctx)
		}
	}
}

// settler is one settling goroutine with the memory that it uses again.
type settler struct {
	c           *Consumer
	most        int
	tasks       []*task
	settlements []broker.Settlement
}

// linger waits for the batch to fill, but never while nothing more can come, or
// when a lease would end meanwhile.
func (s *settler) linger(stop <-chan struct{}) {
	f := s.c.flight
	timer := time.NewTimer(s.c.cap.SettleLinger)
	defer timer.Stop()
	over := s.c.now() + s.c.cap.SettleLinger
	for {
		f.mu.Lock()
		pressing := f.leases.first() != nil && f.leases.first().at <= over
		idle := f.states[stateRunning] == 0 && f.ready.n == 0 // what comes next may wait for this batch
		enough := pressing || idle || f.settling.n == 0 || f.settling.n >= s.most || f.draining || f.inFlight() >= f.limit
		f.mu.Unlock()
		if enough {
			return
		}
		select {
		case <-timer.C:
			return
		case <-stop:
			return
		case <-f.wakeup.settle:
		}
	}
}

// take gathers a batch; false when there is none.
func (s *settler) take() bool {
	f := s.c.flight
	now := s.c.now()
	s.tasks, s.settlements = s.tasks[:0], s.settlements[:0]
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(s.tasks) < s.most {
		t := f.settling.pop()
		if t == nil {
			break
		}
		if t.state == stateDone {
			continue // shutdown gave up on it meanwhile
		}
		if t.lost != nil {
			f.doneLost(t, now)
			continue
		}
		v := &t.verdict
		s.tasks = append(s.tasks, t)
		s.settlements = append(s.settlements, broker.Settlement{
			Delivery: t.d, Action: v.action, After: v.after, Attempt: v.attempt, Failure: v.record,
		})
	}
	f.offerCredit()
	return len(s.tasks) > 0
}

// settle makes one call and takes what succeeded out of flight.
func (s *settler) settle(ctx context.Context) {
	c, f := s.c, s.c.flight
	call, cancel := context.WithTimeout(ctx, s.patience())
	began := c.now()
	err := c.sub.Settle(call, s.settlements)
	cancel()
	failed := elementErrors(err, len(s.tasks))
	now := c.now()
	c.tel.SettleCall(ctx, s.settlements[0].Action, now-began, err)
	var news error
	f.mu.Lock()
	for i, t := range s.tasks {
		switch e := failed.at(i); {
		case t.state == stateDone: // shutdown gave up on it meanwhile
		case e == nil:
			f.ledger.settle(&t.verdict)
			f.done(t, now)
		case failure.Is(e, broker.ErrLeaseLost):
			f.lose(t, e, lostRefused, now)
			f.doneLost(t, now)
		case t.lost != nil:
			f.doneLost(t, now)
		default:
			if f.unsettled == 0 {
				news = e // the first trouble after none
			}
			f.postpone(t, e, now)
		}
	}
	f.offerCredit()
	f.mu.Unlock()
	if news != nil {
		c.log.Warn("settling failed; what failed stays leased and is tried again",
			"queue", c.cap.Source, "final", broker.FinalSettle(news), "error", news)
	}
	c.leasesLost(nil)
	s.report(ctx, failed, now)
	clear(s.settlements)
	clear(s.tasks)
}

// postpone lets a task whose settlement failed wait before it is tried again.
// Lock held.
func (f *flight) postpone(t *task, err error, now time.Duration) {
	if t.settles == 0 {
		t.unsettledSince = now
		f.unsettled++
	}
	t.settles++
	t.settleErr = err
	most := maxSettlePause
	if broker.FinalSettle(err) {
		most = maxRefusedPause
		t.verdict.record = t.verdict.record.Brief()
	}
	f.alarms.set(&t.alarm, now+min(firstSettlePause<<min(t.settles-1, 20), most))
	notify(f.wakeup.alarm)
}

// unsettledNow returns the error of the settlement that has failed for longest,
// and since when; nil when there is none. refused says that some settlement will
// never succeed. Lock held.
func (f *flight) unsettledNow() (since time.Duration, refused bool, err error) {
	if f.unsettled == 0 {
		return 0, false, nil
	}
	for t := f.all.first; t != nil; t = t.after {
		if t.settles == 0 {
			continue
		}
		refused = refused || broker.FinalSettle(t.settleErr)
		if err == nil || t.unsettledSince < since {
			since, err = t.unsettledSince, t.settleErr
		}
	}
	return since, refused, err
}

// patience bounds a call: it is of no use beyond the leases that it settles.
func (s *settler) patience() time.Duration {
	const least, most = time.Second, 30 * time.Second
	if s.c.cap.Lease <= 0 {
		return most
	}
	return min(max(s.c.cap.Lease, least), most)
}

// report tells telemetry and the log what was settled.
func (s *settler) report(ctx context.Context, failed elements, now time.Duration) {
	c := s.c
	for i, t := range s.tasks {
		if failed.at(i) != nil {
			continue
		}
		switch v := &t.verdict; v.action {
		case broker.Ack:
			if c.sample(&c.completed, now) {
				c.tel.Completed(ctx, c.age(t, now), v.action)
			}
			if v.dropped {
				c.log.Info("message dropped by its handler", c.logArgs(t, v)...)
			}
		case broker.DeadLetter:
			c.tel.Completed(ctx, c.age(t, now), v.action)
			c.tel.DeadLettered(v.class, telemetry.ErrorType(v.err))
			c.log.Warn("message dead-lettered", c.logArgs(t, v)...)
		case broker.Retry:
			c.tel.Retried(v.class, false)
		case broker.Release:
		}
		// The tasks of a Receive lie together: one that stays must not keep what the
		// others held.
		t.d, t.msg, t.record, t.verdict = nil, nil, nil, verdict{}
	}
}

func (c *Consumer) logArgs(t *task, v *verdict) []any {
	return []any{"queue", t.d.Source, "message_id", t.d.ID, "attempt", v.attempt, "failure_class", string(v.class), "error", v.err}
}

// settle counts a settlement. Lock held.
func (l *ledger) settle(v *verdict) {
	l.settled[v.action]++
	if v.dropped {
		l.dropped++
	}
	if v.class != "" {
		if l.byClass == nil {
			l.byClass = map[outcomeKey]int64{}
		}
		l.byClass[outcomeKey{v.action, v.class}]++
	}
}

// hold counts a retry that is held. Lock held.
func (l *ledger) hold(class failure.Class) {
	if l.held == nil {
		l.held = map[failure.Class]int64{}
	}
	l.held[class]++
}

// elements are the errors of a batch call by index.
type elements struct {
	all error
	one map[int]error
}

func (e elements) at(i int) error {
	if e.all != nil {
		return e.all
	}
	return e.one[i]
}

// elementErrors takes apart the error of Settle or Extend.
func elementErrors(err error, n int) elements {
	if err == nil {
		return elements{}
	}
	se, ok := failure.Find[*broker.SettleError](err)
	if !ok {
		return elements{all: err}
	}
	one := make(map[int]error, len(se.Failed))
	for _, f := range se.Failed {
		if f.Index >= 0 && f.Index < n {
			one[f.Index] = orReason(f.Err, "the adapter does not say why")
		}
	}
	return elements{one: one}
}
