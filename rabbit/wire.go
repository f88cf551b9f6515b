package rabbit

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

const (
	// maxShort is the most bytes of a short string: a property, a name in a table. The
	// client finds a longer one only while it writes, and gives up the connection.
	maxShort = 255
	// frameBytes is the largest frame that a server takes unless it is told otherwise.
	// Properties and headers travel in one frame, which is never split: the server closes
	// the connection over a larger one, and so does a client that is sent one.
	frameBytes = 131072
	// maxPublished leaves room in that frame for what joins a message later: the attempt,
	// a brief failure record, and what the server notes when it moves the message.
	maxPublished = frameBytes - 16<<10
	// maxCopied leaves room for the server's notes alone.
	maxCopied = frameBytes - 4<<10
	// maxSeconds is the last second of the year 9999. A later timestamp was meant to be
	// in milliseconds.
	maxSeconds = 253402300799
)

// facts is what a delivery says apart from its message.
type facts struct {
	// attempt is 1 unless a copy of ours said more.
	attempt int
	// deliveries is how often the server delivered the message before without a
	// settlement; deliveriesKnown is false on a first delivery, and where the server does
	// not count (classic queues).
	deliveries      int
	deliveriesKnown bool
	// failure is the record that a copy carried; nil when there is none that can be read.
	failure *failure.Record
}

// encode returns what is published for m, which [broker.Prepare] has seen. It shares the
// body and the strings of m.
//
// Errors: one [broker.FieldError] for each field that AMQP cannot carry, and
// [broker.ErrTooLarge] when the headers do not fit into a frame.
func encode(m *broker.Message) (amqp.Publishing, error) {
	if len(m.ID) > maxShort || len(m.Type) > maxShort {
		return amqp.Publishing{}, errors.Join(short("Message.ID", m.ID), short("Message.Type", m.Type))
	}
	p := amqp.Publishing{
		DeliveryMode: amqp.Persistent,
		MessageId:    m.ID,
		Type:         m.Type,
		Body:         m.Body,
	}
	ms := m.PublishedAt.UnixMilli()
	if s := m.PublishedAt.Unix(); s > 0 && s <= maxSeconds {
		p.Timestamp = m.PublishedAt
	}
	stated := publishedAt(m.ID, p.Timestamp, nil, nil)
	timed := stated.IsZero() || stated.UnixMilli() != ms
	if len(m.Headers) == 0 && m.Key == "" && m.SchemaVersion == 0 && !timed {
		return p, nil
	}
	table := make(amqp.Table, len(m.Headers)+4)
	p.Headers = table
	if m.Key != "" {
		table[headerKey] = m.Key
	}
	if m.SchemaVersion != 0 {
		table[headerVersion] = int64(m.SchemaVersion)
	}
	if timed {
		table[headerPublished] = ms
	}
	encodeHeaders(m.Headers, table)
	if n := headerBytes(&p); n > maxPublished {
		return amqp.Publishing{}, fmt.Errorf(
			"message %q: %w: its headers, key and type take %d bytes and AMQP sends them in one frame, where %d are left for them: move the large ones into the body",
			m.ID, broker.ErrTooLarge, n, maxPublished)
	}
	return p, nil
}

// short returns the fault of a field that is longer than a short string.
func short(field, value string) error {
	if len(value) <= maxShort {
		return nil
	}
	return &broker.FieldError{
		Field: field, Value: fmt.Sprintf("%.40q...", value),
		Problem: fmt.Sprintf("is %d bytes long and AMQP carries at most %d: shorten it, or put it into a header", len(value), maxShort),
	}
}

// decode reads a delivery. into is zero before. It never fails: what somebody else
// published is a message, whatever its properties and headers hold, and headers of ours
// that hold nonsense count as absent.
//
// The message shares the body and the strings of d.
func decode(d *amqp.Delivery, into *broker.Message) facts {
	into.ID, into.Type, into.Body = d.MessageId, d.Type, d.Body
	f := facts{attempt: 1}
	if len(d.Headers) == 0 {
		into.PublishedAt = publishedAt(d.MessageId, d.Timestamp, nil, nil)
		return f
	}
	// One pass over the table, because it costs less than to look for each header.
	var application int
	var published, stamped, order, list any
	for name, value := range d.Headers {
		if plainName(name) {
			application++
			if name == headerStamped {
				stamped = value
			}
			continue
		}
		switch name {
		case headerKey:
			into.Key, _ = text(value)
		case headerVersion:
			n, _ := integer(value)
			into.SchemaVersion = int(n)
		case headerPublished:
			published = value
		case headerAttempt:
			if n, ok := integer(value); ok && n > 1 && n <= math.MaxInt32 {
				f.attempt = int(n)
			}
		case headerDelivered:
			// On a first delivery it is the server's 0, or what the message had on another
			// queue: some tools move messages with all of their headers.
			if n, ok := integer(value); ok && n >= 0 && d.Redelivered {
				f.deliveries, f.deliveriesKnown = int(min(n, math.MaxInt32)), true
			}
		case headerFailure:
			if s, ok := text(value); ok && len(s) <= failure.MaxRecordBytes {
				// A record that cannot be read says nothing. The message counts for more.
				f.failure, _ = failure.Decode([]byte(s))
			}
		case headerOrder:
			order = value
		case headerList:
			list = value
		default:
			if _, ok := visible(d.Headers, name); ok {
				application++
			}
		}
	}
	into.PublishedAt = publishedAt(d.MessageId, d.Timestamp, published, stamped)
	into.Headers = decodeHeaders(d.Headers, application, order, list)
	return f
}

// copyOf returns what is published to move d somewhere else: back to its queue, to a
// delay queue or to the dead-letter queue. All that was published stays as it was, types
// of headers included, except for
//
//   - the attempt: what is given, no header for the first
//   - the failure record: rec, or the one that d carries when rec is nil
//   - user-id: the server refuses a message whose user-id is not the connection's own.
//     It moves to a header of ours, and [Native] moves it back
//   - CC and BCC: the server would send the copy to those queues again. They move
//     likewise
//   - what the server noted (x-death, x-delivery-count and the like): the copy is a new
//     message to it. With its deaths kept, the server would in the end take the way
//     through the delay queues for a cycle and drop the message
//   - expiration: it would end a delay early, and it was meant for the wait before the
//     message was first taken
//   - the delivery mode: a copy is always persistent, because the original is acked for it
//
// Neither d nor its table is changed; the copy shares its body.
func copyOf(d *amqp.Delivery, attempt int, rec *failure.Record) amqp.Publishing {
	p := amqp.Publishing{
		ContentType:     d.ContentType,
		ContentEncoding: d.ContentEncoding,
		DeliveryMode:    amqp.Persistent,
		Priority:        d.Priority,
		CorrelationId:   d.CorrelationId,
		ReplyTo:         d.ReplyTo,
		MessageId:       d.MessageId,
		Timestamp:       d.Timestamp,
		Type:            d.Type,
		AppId:           d.AppId,
		Body:            d.Body,
	}
	if len(d.Headers) == 0 && attempt <= 1 && rec == nil && d.UserId == "" {
		return p
	}
	table := make(amqp.Table, len(d.Headers)+3)
	p.Headers = table
	for name, value := range d.Headers {
		switch {
		case name == headerAttempt || brokerMade(name):
			// Stated anew below, or noted anew by the server.
		case name == carbonCopy:
			table[headerCC] = value
		case name == blindCarbonCopy:
			table[headerBCC] = value
		case replaced(d.Headers, name):
			// Somebody published the copy once more with a newer one.
		default:
			table[name] = value
		}
	}
	if attempt > 1 {
		table[headerAttempt] = int64(attempt)
	}
	if d.UserId != "" {
		table[headerUser] = d.UserId
	}
	if rec != nil {
		putRecord(&p, rec)
	}
	return p
}

// replaced says whether an entry of ours was superseded by what it stands for.
func replaced(table amqp.Table, name string) bool {
	if name != headerCC && name != headerBCC {
		return false
	}
	_, ok := visible(table, name)
	return !ok
}

// putRecord adds the record, as much of it as fits: a message that cannot be moved would
// be worse than one that knows less about its failures.
func putRecord(p *amqp.Publishing, rec *failure.Record) {
	delete(p.Headers, headerFailure)
	room := maxCopied - headerBytes(p) - entryBytes(headerFailure, "")
	for _, r := range []*failure.Record{rec, rec.Brief()} {
		b, err := r.Encode()
		if err == nil && len(b) <= room {
			p.Headers[headerFailure] = string(b)
			return
		}
	}
}

// restore puts back what copyOf had to move, so that d is what was published first.
func restore(d *amqp.Delivery) {
	if s, ok := d.Headers[headerUser].(string); ok && d.UserId == "" {
		d.UserId = s
	}
	cc, cced := d.Headers[headerCC]
	bcc, bcced := d.Headers[headerBCC]
	if !cced && !bcced {
		return
	}
	table := maps.Clone(d.Headers) // the original may be read by others
	if _, newer := table[carbonCopy]; cced && !newer {
		table[carbonCopy] = cc
	}
	if _, newer := table[blindCarbonCopy]; bcced && !newer {
		table[blindCarbonCopy] = bcc
	}
	delete(table, headerCC)
	delete(table, headerBCC)
	d.Headers = table
}

// publishedAt is the time of publication, zero where nothing states it. A header of ours
// counts most. The timestamp property knows only seconds; the milliseconds are those of
// a UUIDv7 that was made in the same second, as the ids that [broker.Prepare] assigns
// are, or those of the server's timestamp interceptor: a number, so that it is told from
// a header of that name that we published.
func publishedAt(id string, stamp time.Time, published, stamped any) time.Time {
	if ms, ok := integer(published); ok {
		return time.UnixMilli(ms).UTC()
	}
	s := stamp.Unix()
	switch {
	case stamp.IsZero() || s <= 0: // 0 is what a writer leaves that has no time to state
		return time.Time{}
	case s > maxSeconds && s/1000 > maxSeconds:
		return time.Time{} // a time in no unit
	case s > maxSeconds:
		return time.UnixMilli(s).UTC()
	}
	if ms, ok := timeOfID(id); ok && ms/1000 == s {
		return time.UnixMilli(ms).UTC()
	}
	if ms, ok := wholeNumber(stamped); ok && ms/1000 == s {
		return time.UnixMilli(ms).UTC()
	}
	return time.Unix(s, 0).UTC()
}

// timeOfID returns the time in a UUIDv7: its first 48 bits are milliseconds since 1970.
func timeOfID(id string) (ms int64, ok bool) {
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[14] != '7' || id[18] != '-' || id[23] != '-' {
		return 0, false
	}
	for i := range 13 {
		c := id[i]
		switch {
		case i == 8:
			continue
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		ms = ms<<4 | int64(c)
	}
	return ms, true
}
