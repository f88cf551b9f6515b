package rabbit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// Subscription consumes one queue over a connection of its own. It implements
// [broker.Subscription].
//
// RabbitMQ pushes: what has arrived and was not yet asked for waits here, at most
// the prefetch. A lost connection ends the session of all deliveries; the
// subscription connects, declares and consumes again by itself, for ever, until
// Close.
type Subscription struct {
	plan plan
	caps broker.Capabilities
	link *link
	out  *outbox
	stop context.CancelFunc
	gone chan struct{} // closed when the link has ended

	arrived chan struct{} // capacity 1: the buffer is no longer empty, or s is closed
	asked   chan struct{} // capacity 1: Receive waits for more than the window lets through, or wants no more

	taken []*leased // memory of Receive

	mu      sync.Mutex
	closed  bool
	waiting bool      // Receive waits
	wanted  int       // for how many
	stopped bool      // the last Receive was cancelled: nothing more is wanted for now
	idle    time.Time // since when Receive does not ask
	buffer  []*leased // arrived and not yet returned, of the live session
	current *session  // nil while there is none
	window  window
	gates   gates
}

// plan is how a subscription consumes.
type plan struct {
	topology *topology
	queue    string
	// dead: the queue is a dead-letter queue; it has none of its own.
	dead bool
	// ackTimeout is how long the server bears a delivery; 0 for ever.
	ackTimeout time.Duration
	// attempts says what a count of deliveries means, and how a message goes back.
	attempts attempts
}

// attempts is what is made of the broker's count of deliveries, and with it how a
// message goes back.
type attempts int

const (
	// deliveriesAreCrashes: a quorum queue counts everything that came back, given
	// back or not. So what is given back is published again, with its count of
	// attempts, and its original acknowledged; what is left in the count was
	// abandoned.
	deliveriesAreCrashes attempts = iota
	// deliveriesAreAttempts: a copy would lose its place. Messages go back by nack,
	// and each delivery counts.
	deliveriesAreAttempts
	// deliveriesAreUnknown: a classic queue has no count, and a reader of dead
	// letters needs none. Messages go back by nack where that carries enough.
	deliveriesAreUnknown
)

var _ broker.Subscription = (*Subscription)(nil)

// disconnectedAfter is how long Receive waits for a connection that is being made
// before it says that there is none.
const disconnectedAfter = 2 * time.Second

// start connects, and consumes until Close. It owns out from now on, also when it
// fails.
func (s *Subscription) start(ctx context.Context, patience time.Duration) error {
	s.gone = make(chan struct{})
	s.arrived, s.asked = make(chan struct{}, 1), make(chan struct{}, 1)
	s.idle = time.Now()
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go func() {
		defer close(s.gone)
		s.link.run(life, s.serve)
	}()
	if err := s.link.first(ctx, patience); err != nil {
		stop()
		<-s.gone
		s.out.release()
		return err
	}
	return nil
}

// Capabilities says what the queue can do, as it was opened.
func (s *Subscription) Capabilities() broker.Capabilities { return s.caps }

// Receive returns what has arrived, or waits for it; see [broker.Subscription].
func (s *Subscription) Receive(ctx context.Context, credit broker.Credit) ([]broker.Delivery, error) {
	for {
		if err := ctx.Err(); err != nil {
			s.rest(errors.Is(err, context.Canceled))
			return nil, err
		}
		taken, err := s.take(credit)
		if err != nil {
			return nil, fmt.Errorf("rabbitmq: receive from %q: %w", s.plan.queue, err)
		}
		if len(taken) > 0 {
			return s.hand(taken), nil
		}
		if err := s.await(ctx); err != nil {
			s.rest(false)
			return nil, fmt.Errorf("rabbitmq: receive from %q: %w", s.plan.queue, err)
		}
	}
}

// await waits until something has changed, or fails when there is no connection.
func (s *Subscription) await(ctx context.Context) error {
	link := s.link.state()
	var late <-chan time.Time
	if link.live == nil {
		left := disconnectedAfter - time.Since(link.since)
		if link.err != nil || left <= 0 {
			return s.down(link.err)
		}
		timer := time.NewTimer(left)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-ctx.Done():
	case <-s.arrived:
	case <-link.changed:
	case <-late:
	}
	return nil
}

// down is why there is no connection.
func (s *Subscription) down(why error) error {
	if why == nil {
		return fmt.Errorf("no answer from any address yet: %w", broker.ErrDisconnected)
	}
	return disconnected(why)
}

// take removes from the buffer what credit allows.
func (s *Subscription) take(credit broker.Credit) ([]*leased, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, broker.ErrClosed
	}
	s.stopped = false
	n, bytes := 0, 0
	for _, l := range s.buffer {
		bytes += l.size()
		if n == credit.Messages || n > 0 && bytes > credit.Bytes {
			break
		}
		n++
	}
	if n == 0 {
		s.waiting, s.wanted = true, credit.Messages
		s.demand()
		return nil, nil
	}
	s.taken = append(s.taken[:0], s.buffer[:n]...)
	s.drop(n)
	s.waiting, s.idle = false, time.Now()
	return s.taken, nil
}

// drop removes the first n of the buffer. Lock held.
func (s *Subscription) drop(n int) {
	left := copy(s.buffer, s.buffer[n:])
	clear(s.buffer[left:])
	s.buffer = s.buffer[:left]
}

// rest says that Receive no longer waits. A caller that cancels it stops or
// pauses: what the broker would push in the meantime would only have to go back,
// and be counted as delivered. (The end of a timeout is no such sign: he polls.)
func (s *Subscription) rest(stopped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting, s.idle = false, time.Now()
	if stopped && s.plan.attempts != deliveriesAreAttempts {
		s.stopped = true
		notify(s.asked)
	}
}

// demand tells the consuming goroutine that Receive waits although the window is
// used up. Lock held.
func (s *Subscription) demand() {
	if s.current == nil {
		return
	}
	if open, _ := s.current.unsettled(); s.window.wants(open, s.wanted) {
		notify(s.asked)
	}
}

// notify leaves a note in a channel of capacity 1.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// hand turns what has arrived into deliveries for the caller.
func (s *Subscription) hand(taken []*leased) []broker.Delivery {
	deliveries := make([]broker.Delivery, len(taken))
	messages := make([]broker.Message, len(taken))
	for i, l := range taken {
		facts := decode(&l.native, &messages[i])
		d := &deliveries[i]
		d.Message = &messages[i]
		d.Source = s.plan.queue
		d.Attempt = facts.attempt
		switch s.plan.attempts {
		case deliveriesAreCrashes:
			d.Abandoned = facts.deliveries
		case deliveriesAreAttempts:
			d.Attempt += facts.deliveries
		case deliveriesAreUnknown:
		}
		if s.plan.ackTimeout > 0 {
			d.LeaseUntil = l.arrived.Add(s.plan.ackTimeout)
		}
		d.Session = l.on.Session
		d.Failure = facts.failure
		if s.plan.dead {
			d.Failure = deathRecord(&l.native, facts.attempt, facts.failure)
		}
		d.Tag, d.Ref = l.native.DeliveryTag, l
	}
	clear(taken)
	return deliveries
}

// size is what a delivery counts against a credit of bytes, at least roughly what
// [broker.Message.Size] will say.
func (l *leased) size() int {
	n := len(l.native.Body) + len(l.native.MessageId) + len(l.native.Type)
	for name, value := range l.native.Headers {
		n += len(name)
		if text, ok := value.(string); ok {
			n += len(text)
		}
	}
	return n
}

// Extend is not supported: RabbitMQ has no extension of its acknowledgement
// timeout.
func (s *Subscription) Extend(context.Context, []*broker.Delivery, time.Duration) error {
	return fmt.Errorf("rabbitmq: extend a lease on %q: RabbitMQ cannot; raise the server's consumer_timeout instead: %w",
		s.plan.queue, broker.ErrUnsupported)
}

// Close ends the session: the broker puts what was not settled back into the
// queue. When ctx ends first it does not wait for the broker's answer.
func (s *Subscription) Close(ctx context.Context) error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		return nil
	}
	s.stop()
	notify(s.arrived)
	select {
	case <-s.gone:
	case <-ctx.Done():
		go s.out.release()
		return fmt.Errorf("rabbitmq: close the consumer of %q: no answer yet: %w", s.plan.queue, ctx.Err())
	}
	s.out.release()
	return nil
}
