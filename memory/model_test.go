package memory

import (
	"cmp"
	"slices"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// model is a queue told as simply as possible: one list, searched from the
// front. The property test compares the broker with it.
type model struct {
	o        Queue // with defaults
	session  bool
	messages []*modelMessage // all of the queue
	dead     []*modelMessage // all of the dead-letter queue
	limit    int             // of the dead-letter queue; 0: none
	seq      int
}

type modelMessage struct {
	id, key                        string
	seq, size                      int
	loose                          bool // a duplicate
	attempt, abandoned, deliveries int
	failure                        *failure.Record
	lease                          *modelLease // nil: not leased
	due                            time.Time   // zero: not delayed
}

// modelLease is one delivery.
type modelLease struct {
	m           *modelMessage // nil: ended
	owner       int
	from, until time.Time
	settled     bool
	d           *broker.Delivery
}

func (x *model) publish(m *broker.Message) error {
	if x.o.MaxMessages > 0 && len(x.messages) >= x.o.MaxMessages {
		return broker.ErrFull
	}
	x.seq++
	x.messages = append(x.messages, &modelMessage{id: m.ID, key: m.Key, seq: x.seq, size: m.Size(), attempt: 1})
	return nil
}

// advance ends leases and delays.
func (x *model) advance(now time.Time) {
	for _, m := range slices.Clone(x.messages) {
		if m.lease != nil && !m.lease.until.IsZero() && !m.lease.until.After(now) {
			x.abandon(m)
		}
		if !m.due.After(now) {
			m.due = time.Time{}
		}
	}
}

func (x *model) abandon(m *modelMessage) {
	m.lease.m, m.lease = nil, nil
	m.abandoned++
	if x.o.Without.Attempts {
		m.attempt = m.deliveries + 1
	}
	x.back(m)
}

// back is the way of a message that was given back: to the dead letters when it
// was delivered too often.
func (x *model) back(m *modelMessage) bool {
	if x.o.DeliveryLimit > 0 && m.deliveries >= x.o.DeliveryLimit && x.canBury() {
		x.bury(m)
		return false
	}
	return true
}

func (x *model) canBury() bool {
	return !x.o.Without.DeadLetters && (x.limit == 0 || len(x.dead) < x.limit)
}

func (x *model) bury(m *modelMessage) {
	x.remove(m)
	x.dead = append(x.dead, m)
}

func (x *model) remove(m *modelMessage) {
	x.messages = slices.DeleteFunc(x.messages, func(o *modelMessage) bool { return o == m })
}

// state of a message: it waits when any earlier message of its key is there.
func (x *model) state(m *modelMessage) State {
	switch {
	case m.lease != nil:
		return Leased
	case !m.due.IsZero():
		return Delayed
	}
	if m.key != "" && !m.loose && !x.o.Without.KeyOrder {
		for _, o := range x.messages {
			if o.key == m.key && !o.loose && o.seq < m.seq {
				return Waiting
			}
		}
	}
	return Ready
}

// next returns what a Receive must return, in order.
func (x *model) next(c broker.Credit) []*modelMessage {
	var ready []*modelMessage
	for _, m := range x.messages {
		if x.state(m) == Ready {
			ready = append(ready, m)
		}
	}
	slices.SortStableFunc(ready, func(a, b *modelMessage) int { return cmp.Compare(a.seq, b.seq) })
	bytes := 0
	for i, m := range ready {
		if bytes += m.size; i == c.Messages || i > 0 && bytes > c.Bytes {
			return ready[:i]
		}
	}
	return ready
}

// take leases m for the delivery d.
func (x *model) take(m *modelMessage, owner int, d *broker.Delivery, now time.Time) *modelLease {
	l := &modelLease{m: m, owner: owner, from: now, d: d}
	if x.o.Lease > 0 {
		l.until = now.Add(x.o.Lease)
	}
	m.lease = l
	m.deliveries++
	return l
}

// duplicate is what the fault of that name does to a leased message.
func (x *model) duplicate(m *modelMessage) {
	if x.o.MaxMessages > 0 && len(x.messages) >= x.o.MaxMessages {
		return
	}
	c := *m
	c.loose, c.lease = true, nil
	c.deliveries--
	x.messages = append(x.messages, &c)
}

// live returns the message of a lease that consumer who can still settle.
func (x *model) live(l *modelLease, who int) *modelMessage {
	if l.m == nil || x.session && l.owner != who {
		return nil
	}
	return l.m
}

// settle returns the category of error that is expected.
func (x *model) settle(l *modelLease, who int, s broker.Settlement, now time.Time) error {
	m := x.live(l, who)
	if m == nil {
		return broker.ErrLeaseLost
	}
	w := x.o.Without
	switch s.Action {
	case broker.Retry, broker.Release:
		if s.After > x.o.MaxDelay || w.Delay && s.After > 0 {
			return broker.ErrUnsupported
		}
	case broker.DeadLetter:
		switch {
		case w.DeadLetters:
			return broker.ErrUnsupported
		case !x.canBury():
			return broker.ErrFull
		}
	}
	l.m, l.settled, m.lease = nil, true, nil
	switch s.Action {
	case broker.Ack:
		x.remove(m)
		return nil
	case broker.DeadLetter:
		m.failure = s.Failure
		x.bury(m)
		return nil
	}
	switch {
	case w.Attempts:
		m.attempt = m.deliveries + 1
	case s.Action == broker.Release && w.FreeRelease:
		m.attempt = max(s.Attempt, m.attempt+1)
	default:
		m.attempt = s.Attempt
	}
	m.abandoned = 0
	if s.Failure != nil && !w.Failure {
		m.failure = s.Failure
	}
	if x.back(m) && s.After > 0 {
		m.due = now.Add(s.After)
	}
	return nil
}

func (x *model) extend(l *modelLease, who int, by time.Duration, now time.Time) error {
	m := x.live(l, who)
	switch {
	case m == nil && l.settled && (!x.session || l.owner == who):
		return nil
	case m == nil:
		return broker.ErrLeaseLost
	}
	until := now.Add(by)
	if x.o.MaxLease > 0 && until.After(l.from.Add(x.o.MaxLease)) {
		return broker.ErrUnsupported
	}
	if until.After(l.until) {
		l.until = until
	}
	return nil
}

// disconnect ends what lives on a session.
func (x *model) disconnect(who int) {
	for _, m := range slices.Clone(x.messages) {
		if x.session && m.lease != nil && m.lease.owner == who {
			x.abandon(m)
		}
	}
}
