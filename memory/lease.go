package memory

import (
	"fmt"
	"math"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// lease is one delivery's hold on a message. A delivery points to its own lease
// in Delivery.Ref, so that a late settlement of an old delivery can never touch
// a newer delivery of the same message.
type lease struct {
	q     *queue        // immutable
	owner *Subscription // immutable; whose session it lives on, nil for none
	from  instant       // immutable; receipt

	e       *entry // nil once the lease has ended
	until   instant
	index   int  // in queue.leases
	settled bool // how it ended
}

// forever is the deadline of leases that have none.
const forever = instant(math.MaxInt64)

// later returns t + d, at most forever.
func later(t instant, d time.Duration) instant {
	if d > forever-t {
		return forever
	}
	return t + d
}

// MaxLeaseError says that an extension would hold a delivery longer than
// [Queue].MaxLease. It matches [broker.ErrUnsupported]: to ask again for the
// same is in vain. The lease keeps its deadline.
type MaxLeaseError struct {
	Queue, Message string
	By             time.Duration // what was asked for
	Until          time.Time     // the last moment that can be asked for
}

func (e *MaxLeaseError) Error() string {
	return fmt.Sprintf("memory: extend the lease of message %s on %q by %s: MaxLease lets it run until %s at most",
		e.Message, e.Queue, e.By, e.Until.Format(time.RFC3339Nano))
}

// Is makes errors.Is(err, broker.ErrUnsupported) true.
func (e *MaxLeaseError) Is(target error) bool { return target == broker.ErrUnsupported }

// open leases e, using the memory of l.
func (q *queue) open(l *lease, e *entry, owner *Subscription, now instant) {
	until := forever
	if q.opts.Lease > 0 {
		until = later(now, q.opts.Lease)
	}
	*l = lease{q: q, owner: owner, from: now, e: e, until: until}
	q.leases.push(int64(until), l)
	e.state, e.lease = Leased, l
	e.deliveries++
}

// end ends a lease. The caller puts the message where it belongs.
func (q *queue) end(l *lease, settled bool) {
	q.leases.remove(l.index)
	l.e.lease = nil
	l.e, l.settled = nil, settled
}

// leaseOf returns the lease of a delivery that s may settle or extend, nil when
// it has ended or was never s's.
func (s *Subscription) leaseOf(d *broker.Delivery) *lease {
	if d == nil {
		return nil
	}
	l, ok := d.Ref.(*lease)
	if !ok || l.q != s.q || (l.owner != nil && l.owner != s) {
		return nil
	}
	return l
}

// extend makes a lease run until at least now + by.
func (q *queue) extend(l *lease, by time.Duration, now instant) error {
	until := later(now, by)
	if limit := q.opts.MaxLease; limit > 0 && until > later(l.from, limit) {
		return &MaxLeaseError{Queue: q.name, Message: l.e.msg.ID, By: by, Until: q.b.start.Add(later(l.from, limit))}
	}
	if until > l.until {
		l.until = until
		q.leases.rekey(l.index, int64(until))
	}
	return nil
}
