package brokertest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// T is the part of [*testing.T] that cases and harnesses use. As with
// testing.T, Fatalf and Skipf end the calling goroutine and are called from the
// case's own goroutine only; everything else may be called from any.
type T interface {
	// Helper marks the caller as a helper whose line is not reported.
	Helper()
	// Name is the name of the running case, slashes included. It is not fit to
	// name a queue as it is: brokers limit length and characters.
	Name() string
	// Context ends just before the functions given to Cleanup run.
	Context() context.Context
	// Cleanup registers a function that runs after the case, last added first.
	Cleanup(f func())
	// Logf writes a line that is shown when the case fails.
	Logf(format string, args ...any)
	// Errorf fails the case, which goes on.
	Errorf(format string, args ...any)
	// Fatalf fails the case and ends it.
	Fatalf(format string, args ...any)
	// Skipf skips the rest of the case.
	Skipf(format string, args ...any)
	// Failed says whether the case has failed.
	Failed() bool
}

// Harness is how the suite reaches a broker. NewQueue is required; the zero
// value of every other field means its documented default, which suits a real
// broker on the same machine.
type Harness struct {
	// NewQueue makes a queue that no other case sees, empty, with an empty
	// dead-letter queue of its own, and removes both in t.Cleanup. It is called
	// from several goroutines at once, because cases run in parallel.
	NewQueue func(t T, spec QueueSpec) Queue

	// Bubble runs one case; set it to [testing/synctest.Test] for a broker that
	// lives in the process, so that time is free. Nil, the default, is for real
	// brokers: cases run in parallel and in real time.
	Bubble func(t *testing.T, f func(t *testing.T))

	// Patience is how late something that happens "soon" may be: a confirmed
	// message being delivered, a cancelled call returning, a delay or a lease
	// being noticed as over. A case that fails because something did not happen
	// waits this long. Default 10 s. Raise it for a broker with slow joins or long
	// polls; it costs nothing while the adapter works.
	Patience time.Duration
	// Quiet is how long the suite watches to conclude that nothing happens. Most
	// cases end with such a watch. Default 500 ms. Too short hides faults: it must
	// exceed the time that the broker needs to deliver a message.
	Quiet time.Duration
	// Precision is how much too early a delay or a lease may end: the resolution
	// and the drift of the broker's clock against this machine's. Default 20 ms;
	// negative means none at all.
	Precision time.Duration
	// Lease is the lease that cases about leases ask for; they wait for its end.
	// Default 3 s. It must be a multiple of the broker's resolution and at least 4
	// times Precision, and much longer than an exchange with the broker takes.
	Lease time.Duration
	// Delay is the shortest delay that cases about delays ask for; they also ask
	// for twice, three and four times as much. Default 1 s. It must be a multiple
	// of the broker's resolution and at least 4 times Precision.
	Delay time.Duration
	// LongestWait bounds one wait: a case that would have to wait longer for a
	// lease to end (Capabilities.Lease, Capabilities.MaxLease) is skipped, saying
	// so. Default 1 min.
	LongestWait time.Duration

	// CoarseBytes says that the adapter cannot stop within a broker's response, so
	// that a Receive may exceed Credit.Bytes by the rest of that response.
	CoarseBytes bool
}

// QueueSpec is what a case asks of a queue. A harness passes on what its broker
// can set and ignores the rest: what came of it is read from
// [broker.Capabilities].
type QueueSpec struct {
	// Lease is how long a fresh delivery shall be leased.
	Lease time.Duration
	// MaxLease is the longest that a delivery shall be held, extensions included;
	// 0 for the adapter's default.
	MaxLease time.Duration
	// NoDeadLetters asks for a queue without a dead-letter queue.
	NoDeadLetters bool
	// Intent is what the consumer means to do, to be passed on as it is: the
	// delays that the case will ask for, whether it needs the order of keys, a
	// retry budget that the broker's delivery limit must exceed.
	Intent broker.Intent
}

// Call names a method of a subscription or publisher, for [Queue].FailNext.
type Call string

// The calls that a harness may be asked to make fail.
const (
	CallReceive Call = "Receive"
	CallSettle  Call = "Settle"
	CallExtend  Call = "Extend"
	CallPublish Call = "Publish"
)

// Queue is one queue made for one case. Name, Subscribe and Publisher are
// required. What Subscribe, DeadLetters and Publisher return is closed by the
// suite. They fail the case with t.Fatalf when they cannot do what they are
// asked to.
type Queue struct {
	// Name is what Publish is told to publish to.
	Name string
	// Missing is the name of a queue that does not exist. Default: Name with
	// "-missing" at its end.
	Missing string

	// Subscribe opens one more consumer of the queue and returns when it takes
	// part: when a broker assigns work to consumers, after the assignment.
	Subscribe func(t T) broker.Subscription
	// DeadLetters opens a consumer of the queue's dead-letter queue, leased for
	// long. Required where Capabilities.DeadLetters is true.
	DeadLetters func(t T) broker.Subscription
	// Publisher opens a publisher.
	Publisher func(t T) broker.Publisher

	// Kill ends a consumer the way a crash does: nothing is settled, nothing is
	// given back, nobody says goodbye. It returns when the broker has noticed, or
	// at once where only the end of a lease tells. The suite uses the
	// subscription no more, and does not close it. Optional: without it cases that
	// kill a consumer are skipped.
	Kill func(t T, s broker.Subscription)
	// Drop cuts the connections that this queue's subscriptions and publishers
	// have at the moment, as a network fault does; new ones succeed. Where leases
	// live on a session that outlives a connection (an assignment) it ends that,
	// too. Optional: without it cases about lost connections are skipped.
	Drop func(t T)
	// FailNext makes the next exchange of that kind fail once, at the broker or on
	// the way to it, with a fault that may be tried again, the exchange having had
	// no effect. Optional: without it cases about passing faults are skipped.
	FailNext func(t T, call Call)
}

// withDefaults returns h with every zero field replaced by its default.
func (h Harness) withDefaults() Harness {
	orDefault(&h.Patience, 10*time.Second)
	orDefault(&h.Quiet, 500*time.Millisecond)
	orDefault(&h.Precision, 20*time.Millisecond)
	orDefault(&h.Lease, 3*time.Second)
	orDefault(&h.Delay, time.Second)
	orDefault(&h.LongestWait, time.Minute)
	h.Precision = max(h.Precision, 0)
	return h
}

func orDefault(field *time.Duration, value time.Duration) {
	if *field == 0 {
		*field = value
	}
}

// validate reports every fault of h, defaults filled in, at once.
func (h Harness) validate() error {
	var faults []error
	fault := func(field string, value any, problem string) {
		faults = append(faults, &broker.FieldError{Field: field, Value: value, Problem: problem})
	}
	if h.NewQueue == nil {
		fault("Harness.NewQueue", nil, "is missing; it makes a fresh queue for each case")
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"Harness.Patience", h.Patience},
		{"Harness.Quiet", h.Quiet},
		{"Harness.Lease", h.Lease},
		{"Harness.Delay", h.Delay},
		{"Harness.LongestWait", h.LongestWait},
	} {
		if d.value < 0 {
			fault(d.field, d.value, "must be positive; leave it 0 for the default")
		}
	}
	tooShort := fmt.Sprintf("must be at least 4 times Precision (%v), or being early and being on time look the same", h.Precision)
	if h.Lease > 0 && h.Lease < 4*h.Precision {
		fault("Harness.Lease", h.Lease, tooShort)
	}
	if h.Delay > 0 && h.Delay < 4*h.Precision {
		fault("Harness.Delay", h.Delay, tooShort)
	}
	return errors.Join(faults...)
}

// validate reports every fault of q at once.
func (q Queue) validate() error {
	var faults []error
	missing := func(field, what string) {
		faults = append(faults, &broker.FieldError{Field: field, Problem: "is missing; " + what})
	}
	if q.Name == "" {
		missing("Queue.Name", "it is what the suite publishes to")
	}
	if q.Subscribe == nil {
		missing("Queue.Subscribe", "it opens a consumer")
	}
	if q.Publisher == nil {
		missing("Queue.Publisher", "it opens a publisher")
	}
	return errors.Join(faults...)
}
