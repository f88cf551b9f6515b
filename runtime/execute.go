package runtime

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/telemetry"
)

// errGoexit is the failure of a handler that ended its goroutine.
var errGoexit = failure.Bug(errors.New("handler called runtime.Goexit"))

// work is a worker: it takes what is ready, runs it, hands it back, until the
// consumer stops. One lock per message both hands back and takes.
func (c *Consumer) work(w *worker) {
	f := c.flight
	var r run
	defer func() {
		if r.tasks == nil {
			return
		}
		// The handler called Goexit, which ends this goroutine and cannot be
		// stopped. Its message takes the normal path of a failure, and another
		// goroutine takes this worker's place.
		c.conclude(&r, errGoexit)
		f.mu.Lock()
		c.handBack(&r)
		f.mu.Unlock()
		c.workers.Go(func() { c.work(w) })
	}()
	now := c.now()
	f.mu.Lock()
	f.workers.waking = false // this one is awake
	f.mu.Unlock()
	for {
		f.mu.Lock()
		c.handBack(&r)
		r.tasks, r.start = f.await(w, r.buf[:0], now)
		f.mu.Unlock()
		if r.tasks == nil {
			return
		}
		c.run(&r)
		now = r.end
	}
}

// run is one run of the handler: one task, or the tasks of a batch.
type run struct {
	tasks      []*task
	buf        []*task // memory for tasks
	verdicts   []verdict
	start, end time.Duration
	ctx        context.Context // the handler's, for exemplars; not used to wait
	cause      error           // why a batch's context ended: one item's end is that of all
	span       telemetry.Span
}

// handBack gives the tasks of a concluded run to the flight. Lock held.
func (c *Consumer) handBack(r *run) {
	if r.tasks == nil {
		return
	}
	f := c.flight
	f.workers.running--
	var lost undoneKeys // what follows a lost item of its key comes again after it
	for i, t := range r.tasks {
		if t.d.Message != t.msg { // the handler replaced it; what it may still read is not written otherwise
			t.d.Message = t.msg
		}
		v := &r.verdicts[i]
		switch {
		case t.lost != nil:
			if t.queue != nil {
				lost = append(lost, t.queue)
			}
		case lost.has(t.queue):
			*v = verdict{action: broker.Release, attempt: t.attempt, record: t.record}
		}
		if !v.follows || f.draining || t.lost != nil {
			f.finish(t, *v, r.end)
		}
	}
	// What follows a failed item waits behind it again, in its order.
	for _, t := range slices.Backward(r.tasks) {
		if t.state == stateRunning {
			f.putBack(t)
		}
	}
	for i, t := range r.tasks {
		if r.verdicts[i].follows && t.queue != nil {
			f.advance(t.queue, r.end)
		}
		r.verdicts[i] = verdict{}
	}
	f.handedBack()
	r.buf, r.tasks = r.tasks, nil
}

// run runs the handler on r's tasks and decides what is to become of them.
func (c *Consumer) run(r *run) {
	r.ctx, r.cause, r.span = c.flight.base, nil, telemetry.Span{}
	for _, t := range r.tasks {
		if r.start >= t.leaseLimit {
			c.conclude(r, errTooLate)
			return
		}
		c.sampleWaits(t, r.start)
	}
	if c.batchHandler != nil {
		c.runBatch(r)
		return
	}
	t := r.tasks[0]
	a := t.running
	r.ctx, r.span = c.tel.Process(a, t.d)
	c.conclude(r, c.call(r.ctx, t.d))
}

// conclude ends the attempts of r and decides about each. There is one error for
// each task, or one for all.
func (c *Consumer) conclude(r *run, errs ...error) {
	r.end = c.now()
	r.verdicts = r.verdicts[:0]
	var failed undoneKeys
	worst := 0
	for i, t := range r.tasks {
		err := errs[min(i, len(errs)-1)]
		if failed.has(t.queue) {
			r.verdicts = append(r.verdicts, verdict{attempt: t.attempt, record: t.record, follows: true})
			t.running.finish()
			continue
		}
		v := c.decide(t, r, err)
		v.lost = t.running.lostLease()
		t.running.finish()
		r.verdicts = append(r.verdicts, v)
		if v.action != broker.Ack && t.queue != nil && len(r.tasks) > 1 {
			failed = append(failed, t.queue)
		}
		if v.err != nil && r.verdicts[worst].class == "" {
			worst = i
		}
	}
	for i := range r.verdicts {
		if v := &r.verdicts[i]; v.hold && v.action == broker.Retry {
			c.tel.Retried(v.class, true)
		}
	}
	v := &r.verdicts[worst]
	c.tel.Processed(r.measured(), r.end-r.start, v.class, v.err)
	r.span.End(v.outcome(), v.class, v.err)
}

// measured is the context for metrics: the handler's, so that an exemplar finds its
// span, or where there is none one that is cheap to search.
func (r *run) measured() context.Context {
	if r.span == (telemetry.Span{}) {
		return noSpan
	}
	return r.ctx
}

var noSpan = context.Background() //nolint:forbidigo // it carries nothing, and nobody waits for it

// errTooLate releases what waited for a worker until its lease was about to end.
var errTooLate = Release(0, "waited for a worker until its lease was about to end")

// call runs the handler. A panic becomes the attempt's failure.
func (c *Consumer) call(ctx context.Context, d *broker.Delivery) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = failure.Recovered(p)
		}
	}()
	return c.handler(ctx, d)
}

// sampleWaits records how long the message waited: for a worker, and, when it is
// run for the first time, since it was published.
func (c *Consumer) sampleWaits(t *task, now time.Duration) {
	if !c.sample(&c.waited, now) {
		return
	}
	age := telemetry.Unknown
	if t.attempt == 1 && t.d.Abandoned == 0 {
		age = c.age(t, now)
	}
	c.tel.Waits(t.running, now-t.received, age)
}

// sample says whether a duration is to be recorded: at most one in each
// millisecond. Where messages are so many, a share of them tells their
// distribution, and recording every one would cost more than handling it.
func (c *Consumer) sample(last *atomic.Int64, now time.Duration) bool {
	l := last.Load()
	return now-time.Duration(l) >= time.Millisecond && last.CompareAndSwap(l, int64(now))
}

// age is how long ago the message was first published.
func (c *Consumer) age(t *task, now time.Duration) time.Duration {
	return telemetry.Age(t.d.Message, c.flight.epoch.Add(now))
}
