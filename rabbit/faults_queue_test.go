package rabbit

import (
	"errors"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/internal/faultlab"
)

// A channel that the server closes for an error takes its leases with it and
// nothing else: the consumer opens another and goes on.
func TestNothingIsLostWhenTheServerClosesTheChannel(t *testing.T) {
	t.Parallel()
	f := newFlow(t, faultlab.Need(t, lines["3"]))
	f.start()
	faults := []func(*session) error{
		func(s *session) error { return s.ch.Ack(1<<40, false) }, // a tag that it never gave out
		func(s *session) error {
			_, err := s.ch.QueueDeclarePassive("no such queue", true, false, false, false, nil)
			return err
		},
	}
	for i, do := range faults {
		f.reach(float64(i+1) / 3)
		f.mayRepeat(1, "channel error")
		s := f.session()
		err := do(s)
		<-s.Lost()
		t.Logf("%v; %v", err, s.Cause())
		if !errors.Is(s.Cause(), broker.ErrDisconnected) {
			t.Errorf("the session ended with %v", s.Cause())
		}
	}
	f.finish()
	if n := f.sessionsSeen(); n != len(faults)+1 {
		t.Errorf("%d sessions, want %d", n, len(faults)+1)
	}
}

// session waits for the live session of the consumer.
func (f *flow) session() (current *session) {
	f.Helper()
	sub := f.end.Subscription.(*Subscription)
	f.await("a session", func() bool {
		sub.mu.Lock()
		defer sub.mu.Unlock()
		current = sub.current
		return current != nil
	})
	return current
}

// A queue that somebody deletes under load is declared again by the consumer
// itself. What was in it is gone by that act, and nothing else is.
func TestDeletedQueueIsDeclaredAgainAndLosesOnlyWhatWasInIt(t *testing.T) {
	t.Parallel()
	f := newFlow(t, faultlab.Need(t, lines["3"]), func(f *flow) { f.losable = true })
	f.start()
	f.reach(0.4)
	f.mayRepeat(1, "queue deleted")
	before := f.session()
	ready := 0
	f.onServer(func(ch *amqp.Channel) (err error) {
		ready, err = ch.QueueDelete(f.queue, false, false, false)
		return err
	})
	f.gone.Add(int64(ready))
	<-before.Lost()
	t.Logf("deleted with %d messages ready; %v", ready, before.Cause())
	f.await("everything is published", func() bool { return f.sent.Load() >= int64(f.n) })
	f.await("the queues are empty", func() bool { return f.consumer.Ledger().InFlight == 0 && f.left() == 0 })
	// Gone are those that were ready, those that the broker had pushed and that were
	// not done, and those that it had confirmed while it deleted.
	const most = flowPrefetch + flowPublishers*flowBatch
	if lost := f.ledger.Open(); lost > ready+most {
		t.Errorf("%d messages are gone; in the queue were %d, pushed and under way at most %d", lost, ready, most)
	} else if ready > 0 && lost == 0 {
		t.Error("nothing was lost with a queue that was not empty: what was it that was deleted?")
	}
	if f.sessionsSeen() != 2 {
		t.Errorf("%d sessions, want 2", f.sessionsSeen())
	}
}

// A queue that is empty when it is deleted costs nothing at all.
func TestEmptyQueueThatIsDeletedLosesNothing(t *testing.T) {
	t.Parallel()
	f := newFlow(t, faultlab.Need(t, lines["3"]), func(f *flow) { f.losable = true })
	f.start()
	for _, part := range []float64{0.3, 0.6} {
		f.reach(part)
		before := f.session()
		f.deleteEmpty(f.queue)
		select {
		case <-before.Lost():
		case <-time.After(10 * time.Second):
			t.Fatal("the consumer does not notice that its queue is gone")
		}
	}
	f.finish()
	if f.sessionsSeen() != 3 {
		t.Errorf("%d sessions, want 3", f.sessionsSeen())
	}
}

// deleteEmpty deletes a queue at a moment when everything that was published is
// done.
func (f *flow) deleteEmpty(queue string) {
	f.Helper()
	f.hold.Lock() // publishers wait
	defer f.hold.Unlock()
	f.await("all is done", func() bool { return f.ledger.Open() == 0 && f.consumer.Ledger().InFlight == 0 && f.left() == 0 })
	f.onServer(func(ch *amqp.Channel) error {
		_, err := ch.QueueDelete(queue, false, false, false)
		return err
	})
}

// While a retry cannot be stored because its delay queue is gone or full, the
// original stays unacknowledged and health says why; it goes on when the queue is
// back.
func TestOriginalStaysWhileItsDelayQueueIsGoneOrFull(t *testing.T) {
	t.Parallel()
	f := newFlow(t, faultlab.Need(t, lines["3"]), func(f *flow) {
		f.settings.Delays = []time.Duration{200 * time.Millisecond}
	})
	rung := f.queue + ".retry.200"
	f.start()
	f.reach(0.2)
	f.deleteEmpty(rung)
	f.await("retries wait", func() bool { return f.consumer.Stats().Settling >= 10 })
	handled := f.handled.Load()
	f.await("other messages go on", func() bool { return f.handled.Load() >= handled+1000 })
	f.await("health tells of it", func() bool { return !f.consumer.Health().Healthy })
	t.Log(f.consumer.Health())
	if n := f.consumer.Ledger().Lost; n != 0 {
		t.Errorf("%d leases were lost", n)
	}
	waiting := f.consumer.Stats().Settling

	// It comes back too small for all of them.
	f.onServer(func(ch *amqp.Channel) error { return declareRung(f, ch, rung, 20) })
	f.await("the rest is done", func() bool { return f.consumer.Stats().Settling < waiting/2 })
	f.finish()
	if n := f.sessionsSeen(); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

// declareRung declares a delay queue as the topology does, but with a bound.
func declareRung(f *flow, ch *amqp.Channel, name string, most int64) error {
	s := f.settings.withDefaults()
	top, err := newTopology(&s, f.queue, f.options.Intent())
	if err != nil {
		return err
	}
	for _, q := range top.queues {
		if q.name == name {
			q.args["x-max-length"] = most
			_, err = ch.QueueDeclare(name, true, false, false, false, q.args)
		}
	}
	return err
}
