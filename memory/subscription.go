package memory

import (
	"context"
	"fmt"
	"slices"

	"github.com/anyqueue/anyqueue/broker"
)

// Subscription consumes one queue. It implements [broker.Subscription], and more
// than that asks for: its methods may be called from any number of goroutines.
type Subscription struct {
	b    *Broker
	q    *queue
	opts SubscribeOptions
	caps broker.Capabilities

	// Guarded by Broker.mu.
	session *broker.Session // nil without SessionLeases
	opened  int             // sessions so far
	drops   int             // how often the connection was dropped
	down    bool            // Disconnect was called, Reconnect not yet
	closed  bool
}

var _ broker.Subscription = (*Subscription)(nil)

// Broker returns the broker that s belongs to.
func (s *Subscription) Broker() *Broker { return s.b }

// Capabilities says what the queue can do: everything, except what
// [Queue].Without took.
func (s *Subscription) Capabilities() broker.Capabilities { return s.caps }

func (s *Subscription) capabilities() broker.Capabilities {
	o, w := s.q.opts, s.q.opts.Without
	c := broker.Capabilities{
		Broker:          "memory",
		System:          "anyqueue_memory",
		Source:          s.q.name,
		Lease:           max(o.Lease, 0),
		Extends:         o.Lease > 0 && !w.Extend,
		MaxLease:        o.MaxLease,
		KeyOrder:        !w.KeyOrder,
		Keys:            !w.Keys,
		CarriesAttempts: !w.Attempts,
		CarriesFailure:  !w.Failure,
		CountsAbandoned: !w.Abandoned,
		ReleaseIsFree:   !w.FreeRelease,
		MaxDelay:        o.MaxDelay,
		DelayKeepsOrder: !w.KeyOrder && !w.Delay,
		DeadLetters:     !w.DeadLetters,
		DeliveryLimit:   o.DeliveryLimit,
		MaxMessageBytes: max(o.MaxMessageBytes, 0),
		MaxSettle:       s.opts.MaxSettle,
		MaxExtend:       s.opts.MaxExtend,
		SettleCalls:     s.opts.SettleCalls,
		SettleLinger:    s.opts.SettleLinger,
		AgeFrom:         "publication, kept by the broker",
		Duplicates:      "never once a settlement was confirmed",
	}
	if w.Delay {
		c.MaxDelay = 0
	}
	return c
}

// usable says why a call cannot be made. The caller holds the lock.
func (s *Subscription) usable() error {
	switch {
	case s.b.closed:
		return fmt.Errorf("broker: %w", broker.ErrClosed)
	case s.closed:
		return fmt.Errorf("subscription: %w", broker.ErrClosed)
	case s.down || s.b.down:
		return fmt.Errorf("the connection was dropped on request; Reconnect restores it: %w", broker.ErrDisconnected)
	}
	return nil
}

func (s *Subscription) wrap(what string, err error) error {
	return fmt.Errorf("memory: %s %q: %w", what, s.q.name, err)
}

// Stats is exact. Messages that wait behind an earlier one of their key become
// ready later, and are counted as delayed.
func (s *Subscription) Stats(ctx context.Context) (broker.Stats, error) {
	if err := ctx.Err(); err != nil {
		return broker.Stats{}, err
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if err := s.usable(); err != nil {
		return broker.Stats{}, s.wrap("read statistics of", err)
	}
	now, at := s.b.now()
	s.q.advance(at)
	s.q.wake()
	st := s.q.stats(now)
	out := broker.Stats{
		Ready:     broker.Known(int64(st.Ready)),
		InFlight:  broker.Known(int64(st.InFlight)),
		Delayed:   broker.Known(int64(st.Delayed + st.Waiting)),
		OldestAge: broker.Known(st.OldestAge),
	}
	if s.q.dead != nil {
		out.DeadLetters = broker.Known(int64(s.q.dead.count))
	}
	return out, nil
}

// Close frees the subscription; a Receive under way returns [broker.ErrClosed].
// Leases run on until they end by themselves, except with
// [SubscribeOptions].SessionLeases: then the session ends and what was not
// settled is visible again at once. Closing again does nothing.
func (s *Subscription) Close(context.Context) error {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if s.closed || s.b.closed {
		return nil
	}
	s.closed = true
	s.endSession(fmt.Errorf("memory: subscription: %w", broker.ErrClosed))
	s.q.line.rouse(s)
	delete(s.q.subs, s)
	if len(s.q.subs) == 0 && !s.q.watched() {
		s.q.disarm()
	}
	return nil
}

// Disconnect drops the connection of this subscription as a network fault does:
// its session ends, its unsettled deliveries are visible again at once (with
// SessionLeases), a Receive under way fails with [broker.ErrDisconnected], and
// so does every call until [Subscription.Reconnect].
func (s *Subscription) Disconnect() {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.down = true
	s.drop()
}

// Reconnect restores the connection after [Subscription.Disconnect]. The two in a
// row are a connection that breaks and comes back at once.
func (s *Subscription) Reconnect() {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.down = false
	if !s.b.down {
		s.openSession()
	}
}

// Disconnect drops the connections of all subscriptions and publishers, as when
// the broker goes down, until [Broker.Reconnect]. Messages and leases that live
// on no session are kept.
func (b *Broker) Disconnect() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = true
	for _, q := range b.queues {
		for s := range q.subs {
			s.drop()
		}
	}
}

// Reconnect restores what [Broker.Disconnect] dropped, except subscriptions that
// were disconnected on their own.
func (b *Broker) Reconnect() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = false
	for _, q := range b.queues {
		for s := range q.subs {
			if !s.down {
				s.openSession()
			}
		}
	}
}

var errDropped = fmt.Errorf("memory: the connection was dropped on request: %w", broker.ErrDisconnected)

// drop tells a Receive under way, and ends what lives on the connection.
func (s *Subscription) drop() {
	s.drops++
	s.q.line.rouse(s)
	s.endSession(errDropped)
}

// endSession ends the session, if there is one, and gives back what lives on
// it. The session ends first: nobody is given a message whose former consumer
// could not know yet that it is lost.
func (s *Subscription) endSession(cause error) {
	if s.session == nil {
		return
	}
	s.session.End(cause)
	s.session = nil
	_, now := s.b.now()
	s.q.advance(now)
	for _, it := range slices.Clone(s.q.leases.items) {
		if it.v.owner == s {
			s.q.abandon(it.v, now)
		}
	}
	s.q.wake()
	s.q.arm(now)
}

func (s *Subscription) openSession() {
	if s.opts.SessionLeases && s.session == nil && !s.closed && !s.b.closed {
		s.opened++
		s.session = broker.NewSession(fmt.Sprintf("%s session %d", s.q.name, s.opened))
	}
}

func (s *Subscription) owner() *Subscription {
	if s.opts.SessionLeases {
		return s
	}
	return nil
}

func tooMany(field string, n, limit int) error {
	return &broker.FieldError{Field: field, Value: n, Problem: fmt.Sprintf("at most %d are taken in one call; see Capabilities", limit)}
}
