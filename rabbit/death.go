package rabbit

import (
	"fmt"
	"math"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/failure"
)

// death is why the server itself moved a message to a dead-letter queue.
type death struct {
	queue, reason string
	count         int64
	at            time.Time
}

func (d *death) Error() string {
	what, next := "was dead-lettered", "look at the policies and arguments of that queue"
	switch d.reason {
	case reasonLimit:
		what = "was delivered more often than the queue's delivery limit allows, and never settled"
		next = "its handler kills the process or outlasts the connection: look for crashes and restarts"
	case reasonExpired:
		what = "waited longer than its time to live allows"
		next = "the consumer was too slow or stopped, or an expiration was set"
	case reasonLength:
		what = "was pushed out of a full queue"
		next = "the consumer was too slow or stopped, or the queue's maximum length is too small"
	case reasonRejected:
		what = "was rejected without a failure record"
		next = "a consumer other than anyqueue reads the same queue"
	}
	where := "an unnamed queue"
	if d.queue != "" {
		where = fmt.Sprintf("queue %q", d.queue)
	}
	times := ""
	if d.count > 1 {
		times = fmt.Sprintf(", %d times", d.count)
	}
	return fmt.Sprintf("the message %s (%s%s, reason %q): %s", what, where, times, d.reason, next)
}

// Reasons as the server states them.
const (
	reasonLimit    = "delivery_limit"
	reasonExpired  = "expired"
	reasonLength   = "maxlen"
	reasonRejected = "rejected"
)

// class is the kind of failure that a reason stands for.
func (d *death) class() failure.Class {
	switch d.reason {
	case reasonLimit:
		return failure.ClassCrash
	case reasonExpired:
		return failure.ClassTimeout
	case reasonLength:
		return failure.ClassResource
	}
	return failure.ClassUnclassified
}

// deathRecord returns the failure record of a message that is read from a dead-letter
// queue: prev, which a copy of ours carried, and one more failure if the server put the
// message there itself. A copy of ours has no deaths, so that one that has died there
// alone.
//
// It is for dead-letter queues only: in a work queue a message with a death is one that
// came back from a delay queue.
func deathRecord(d *amqp.Delivery, attempt int, prev *failure.Record) *failure.Record {
	died, ok := lastDeath(d.Headers)
	if !ok {
		return prev
	}
	return failure.Next(prev, failure.Observation{
		Err: died, Class: died.class(), Attempt: attempt, At: died.at, Source: died.queue,
	})
}

// lastDeath reads the latest death: the first of the array.
func lastDeath(table amqp.Table) (*death, bool) {
	deaths, _ := table[headerDeath].([]any)
	if len(deaths) == 0 {
		return nil, false
	}
	entry, ok := deaths[0].(amqp.Table)
	if !ok {
		return nil, false
	}
	d := &death{count: 1}
	d.queue, _ = text(entry["queue"])
	d.reason, _ = text(entry["reason"])
	if n, ok := integer(entry["count"]); ok {
		d.count = min(max(n, 1), math.MaxInt32)
	}
	if at, ok := entry["time"].(time.Time); ok {
		d.at = at.UTC()
	}
	return d, d.queue != "" || d.reason != ""
}
