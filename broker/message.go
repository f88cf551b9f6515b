package broker

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/anyqueue/anyqueue/failure"
)

// Message is what a publisher hands over and a handler receives.
//
// A received Message is shared with the adapter that will copy it to a retry
// place or a dead-letter queue: treat Body and Headers as read-only.
type Message struct {
	// ID identifies the message for dedupe. [Prepare] assigns a UUIDv7 when it is
	// empty. It stays the same through every retry, dead letter and redrive.
	ID string
	// Key is the ordering key: Kafka's record key, SQS's message group. Empty for
	// none: such a message has no order relative to any other.
	Key string
	// Type names the schema of Body ("refund.requested"); empty when not stated.
	Type string
	// SchemaVersion is the version of Type; 0 when not stated.
	SchemaVersion int
	// Headers are the application's headers, in order, byte for byte.
	Headers Headers
	// Body is the payload. It may be empty.
	Body []byte
	// PublishedAt is the time of the first publication, in UTC. It survives
	// retries: the age of a message is measured from here. Adapters keep at least
	// milliseconds. [Prepare] sets it when it is zero. It is zero on delivery when a foreign publisher stated nothing
	// and the broker knows nothing.
	PublishedAt time.Time
}

// Prepare gives m the identity and time that every published message has: a
// UUIDv7 when ID is empty, now in UTC when PublishedAt is zero. Publishers of
// adapters call it on each message before sending, so that the caller can read
// the assigned ID afterwards, and so that publishing the same Message again
// after an error publishes the same identity.
func Prepare(m *Message, now time.Time) error {
	if m == nil {
		return &FieldError{Field: "Message", Problem: "is nil; pass a *broker.Message"}
	}
	if m.ID == "" {
		id, at, err := newID()
		if err != nil {
			return fmt.Errorf("broker: assign a message id: %w", err)
		}
		m.ID = id
		// The id has the millisecond of its making in it. When now has just passed the
		// border of one, the id's is taken: an adapter whose broker knows no milliseconds
		// can then read them from the id.
		if d := at.Sub(now); d > 0 && d < 10*time.Millisecond {
			now = at
		}
	}
	if m.PublishedAt.IsZero() {
		m.PublishedAt = now.UTC()
	}
	return nil
}

// random hands out cryptographic random bytes from buffers: a system call for each
// identity would cost as much as publishing does in memory.
var random = sync.Pool{New: func() any { return bufio.NewReaderSize(rand.Reader, 1024) }}

// newID returns a UUIDv7 and the time that it states.
func newID() (string, time.Time, error) {
	r := random.Get().(*bufio.Reader)
	defer random.Put(r)
	id, err := uuid.NewV7FromReader(r)
	if err != nil {
		return "", time.Time{}, err
	}
	ms := int64(binary.BigEndian.Uint64(id[:8]) >> 16) //nolint:gosec // 48 bits
	return id.String(), time.UnixMilli(ms), nil
}

// Clone returns a deep copy of m.
func (m *Message) Clone() *Message {
	c := *m
	c.Headers = m.Headers.Clone()
	if m.Body != nil {
		c.Body = append(make([]byte, 0, len(m.Body)), m.Body...)
	}
	return &c
}

// Size is what m counts against byte limits: its body, its headers, and its
// string fields, in bytes. Brokers count framing differently; an adapter with
// a hard size limit checks its own encoding.
func (m *Message) Size() int {
	n := len(m.Body) + len(m.ID) + len(m.Key) + len(m.Type)
	for _, h := range m.Headers {
		n += len(h.Name) + len(h.Value)
	}
	return n
}

// Delivery is a [Message] leased to this consumer.
//
// Its fields do not change after Receive returned it, so that they may be read
// from any goroutine: a lease that was extended since is the runtime's
// knowledge, not the delivery's.
type Delivery struct {
	*Message

	// Source is the queue or topic it was received from.
	Source string
	// Attempt is 1 the first time; failures so far + 1, from the best evidence
	// that the broker has (see [Capabilities].CarriesAttempts).
	Attempt int
	// Abandoned is how many earlier deliveries since the last settlement ended
	// without one: the process was killed, the connection broke or the lease ran
	// out. It is evidence of crashes, kept apart from Attempt because a delivery
	// is not a failure. 0 when there were none or when the broker cannot tell
	// (see [Capabilities].CountsAbandoned).
	Abandoned int
	// LeaseUntil is when the lease ends unless it is extended; zero when it has
	// no deadline of its own.
	LeaseUntil time.Time
	// Session is the connection, channel or assignment that the lease lives on;
	// nil where a lease never depends on one.
	Session *Session
	// Failure is the record of earlier attempts: what the last Retry or Release
	// settlement carried, or on a dead-letter queue why the message is there. Nil
	// when there is none or when the broker cannot carry it.
	Failure *failure.Record

	// Tag and Ref belong to the adapter that made the delivery: what it needs to
	// settle it. Nobody else reads them, but telemetry asks a Ref that is [Placed].
	// Two fields, so that an adapter with a numeric tag (a delivery tag, an offset)
	// allocates nothing per message.
	Tag uint64
	Ref any
}
