package rabbit

import (
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// session is one channel with one consumer at a time: what its deliveries are
// leased on. It is never used again after its channel has closed, so that a
// late acknowledgement cannot hit the delivery of another channel that has the
// same tag.
type session struct {
	*broker.Session
	w  *connection
	ch *amqp.Channel

	// mu orders frames of acknowledgement as the tracker has decided them.
	mu       sync.Mutex
	tracker  tracker
	scratch  []uint64
	held     int // delivered and not settled
	consumer int // number of the present consumer
	open     int // what of held it was given
}

// leased is one delivery on a session.
type leased struct {
	on      *session
	arrived time.Time
	// at is its place among those of its key: its tag, or where it was given back
	// that of its first delivery on this session.
	at       uint64
	consumer int  // number of the one it was given to
	settled  bool // guarded by on.mu
	native   amqp.Delivery
}

// forget marks a lease as settled, and lets go of the message: its slab may live
// as long as the slowest of its neighbours.
func (l *leased) forget() {
	l.settled = true
	l.native = amqp.Delivery{DeliveryTag: l.native.DeliveryTag}
}

// nativeOf returns what the client delivered; nil when d is of another adapter.
func nativeOf(d *broker.Delivery) *amqp.Delivery {
	if l, ok := d.Ref.(*leased); ok {
		return &l.native
	}
	return nil
}

// lost is what is said of a delivery whose session has ended.
func (s *session) lost() error {
	return fmt.Errorf("%w: %w", broker.ErrLeaseLost, passing{s.Cause()})
}

// settleable says whether a delivery is still leased; the error is that of a lost
// lease.
func (s *session) settleable(l *leased) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claimed(l)
}

// claimed is settleable with the lock held.
func (s *session) claimed(l *leased) error {
	if s.Cause() != nil {
		return s.lost()
	}
	if l.settled {
		return fmt.Errorf("it was settled before: %w", broker.ErrLeaseLost)
	}
	return nil
}

// ack acknowledges deliveries with as few frames as the order of their tags
// allows, and returns when the system has taken them: what was settled stays so
// if the process is killed now. late is told of those that were settled before.
func (s *session) ack(deliveries []*leased, late func(i int, err error)) error {
	return s.sending(func() error {
		tags := s.scratch[:0]
		for i, l := range deliveries {
			if err := s.claimed(l); err != nil {
				late(i, err)
				continue
			}
			s.settle(l)
			tags = append(tags, l.native.DeliveryTag)
		}
		s.scratch = tags
		through, rest := s.tracker.ack(tags)
		if through > 0 {
			if err := s.ch.Ack(through, true); err != nil {
				return err
			}
		}
		for _, tag := range rest {
			if err := s.ch.Ack(tag, false); err != nil {
				return err
			}
		}
		return nil
	})
}

// nack gives deliveries back to the head of the queue, in their order. late is
// told of those that were settled before.
func (s *session) nack(deliveries []*leased, late func(i int, err error)) error {
	return s.sending(func() error {
		for i, l := range deliveries {
			if err := s.claimed(l); err != nil {
				late(i, err)
				continue
			}
			s.settle(l)
			s.tracker.nack(l.native.DeliveryTag)
			if err := s.ch.Nack(l.native.DeliveryTag, false, true); err != nil {
				return err
			}
		}
		return nil
	})
}

// sending calls write with the lock held, and sends the frames that it has
// written together.
func (s *session) sending(write func() error) error {
	s.w.raw.cork()
	err := s.locked(write)
	if sent := s.w.raw.flush(); err == nil {
		err = sent
	}
	switch {
	case err == nil, failure.Is(err, broker.ErrLeaseLost):
		return err
	}
	// The frames could not be written: the channel is gone, and with it every lease.
	s.End(disconnected(err))
	return s.lost()
}

func (s *session) locked(write func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Cause() != nil {
		return s.lost()
	}
	return write()
}

// renew ends a lease and returns a new one of the same delivery.
func (s *session) renew(l *leased) (*leased, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.claimed(l); err != nil {
		return nil, err
	}
	again := &leased{on: l.on, arrived: l.arrived, at: l.at, consumer: l.consumer, native: l.native}
	l.forget()
	return again, nil
}

// settle counts a lease that ends. Lock held.
func (s *session) settle(l *leased) {
	l.forget()
	s.held--
	if l.consumer == s.consumer {
		s.open--
	}
}

// begin says that another consumer is given what comes from now on.
func (s *session) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.consumer++
	s.open = 0
}

// delivered counts deliveries that have come to the present consumer.
func (s *session) delivered(batch []*leased) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held += len(batch)
	s.open += len(batch)
	for _, l := range batch {
		l.consumer = s.consumer
	}
}

// unsettled is how many deliveries the broker waits for: of the present consumer,
// and in all.
func (s *session) unsettled() (open, held int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open, s.held
}
