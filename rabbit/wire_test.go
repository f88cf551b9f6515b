package rabbit

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// arrived is what a consumer gets for what was published, as the client writes and reads
// it. wire_server_test.go proves the same through servers.
func arrived(tb testing.TB, p amqp.Publishing) *amqp.Delivery {
	tb.Helper()
	for _, s := range []string{p.ContentType, p.ContentEncoding, p.CorrelationId, p.ReplyTo, p.Expiration, p.MessageId, p.Type, p.UserId, p.AppId} {
		if len(s) > 255 {
			tb.Fatalf("property %.40q... has %d bytes: the connection would die of it", s, len(s))
		}
	}
	if n := headerBytes(&p); n > frameBytes {
		tb.Fatalf("properties and headers take %d bytes: the connection would die of it", n)
	}
	if !p.Timestamp.IsZero() {
		p.Timestamp = time.Unix(p.Timestamp.Unix(), 0)
	}
	if p.Headers != nil {
		p.Headers = wired(tb, p.Headers).(amqp.Table)
	}
	return &amqp.Delivery{
		Headers: p.Headers, ContentType: p.ContentType, ContentEncoding: p.ContentEncoding, DeliveryMode: p.DeliveryMode,
		Priority: p.Priority, CorrelationId: p.CorrelationId, ReplyTo: p.ReplyTo, Expiration: p.Expiration, MessageId: p.MessageId,
		Timestamp: p.Timestamp, Type: p.Type, UserId: p.UserId, AppId: p.AppId, Body: p.Body,
	}
}

// wired is a value of a table after it was written and read.
func wired(tb testing.TB, value any) any {
	tb.Helper()
	switch v := value.(type) {
	case amqp.Table:
		t := amqp.Table{}
		for name, x := range v {
			if len(name) > 255 {
				tb.Fatalf("header name %.40q... has %d bytes: the connection would die of it", name, len(name))
			}
			t[name] = wired(tb, x)
		}
		return t
	case []any:
		var list []any
		for _, x := range v {
			list = append(list, wired(tb, x))
		}
		return list
	case time.Time:
		return time.Unix(v.Unix(), 0)
	case int:
		tb.Fatalf("an int is cut to 32 bits on the wire: say which size it has")
	}
	if err := (amqp.Table{"value": value}).Validate(); err != nil {
		tb.Fatal(err)
	}
	return value
}

func received(d *amqp.Delivery) (*broker.Message, facts) {
	m := new(broker.Message)
	f := decode(d, m)
	return m, f
}

func mustEncode(tb testing.TB, m *broker.Message) amqp.Publishing {
	tb.Helper()
	p, err := encode(m)
	if err != nil {
		tb.Fatalf("encode %+v: %v", m, err)
	}
	return p
}

// wantMessage fails unless the messages say the same, times to the millisecond.
func wantMessage(tb testing.TB, have, want *broker.Message) {
	tb.Helper()
	h, w := *have, *want
	if h.PublishedAt.Location() != time.UTC {
		tb.Fatalf("PublishedAt is in %v, want UTC", h.PublishedAt.Location())
	}
	if h.PublishedAt.UnixMilli() != w.PublishedAt.UnixMilli() {
		tb.Fatalf("PublishedAt is %v, want %v to the millisecond", h.PublishedAt, w.PublishedAt)
	}
	h.PublishedAt, w.PublishedAt = time.Time{}, time.Time{}
	if !bytes.Equal(h.Body, w.Body) || !slices.Equal(h.Headers, w.Headers) {
		tb.Fatalf("message is\n %+v, want\n %+v", h, w)
	}
	h.Body, w.Body, h.Headers, w.Headers = nil, nil, nil, nil
	if !reflect.DeepEqual(h, w) {
		tb.Fatalf("message is\n %+v, want\n %+v", h, w)
	}
}

func identity(tb testing.TB) string {
	tb.Helper()
	id, err := uuid.NewV7()
	if err != nil {
		tb.Fatal(err)
	}
	return id.String()
}

// A header table costs more than the rest of a message: one whose identity was assigned
// has none, and its time is whole all the same.
func TestAMessageWithAnAssignedIdentityNeedsNoHeaders(t *testing.T) {
	for try := 0; ; try++ {
		m := &broker.Message{Type: "order.placed", Body: []byte("{}")}
		if err := broker.Prepare(m, time.Now()); err != nil {
			t.Fatal(err)
		}
		p := mustEncode(t, m)
		if len(p.Headers) > 0 && try < 20 {
			continue // the identity was made in the millisecond after
		}
		if p.Headers != nil {
			t.Fatalf("headers are %v, want none", p.Headers)
		}
		got, _ := received(arrived(t, p))
		wantMessage(t, got, m)
		return
	}
}

// PublishedAt keeps milliseconds whoever assigned the identity, and whatever the time.
func TestPublishedAtKeepsMilliseconds(t *testing.T) {
	made := time.UnixMilli(0x0190_0000_0000 + 77).UTC() // the time in the identity below
	const id = "01900000-004d-7abc-8def-0123456789ab"
	for _, at := range []time.Time{
		made, made.Add(time.Millisecond), made.Truncate(time.Second), made.Add(time.Hour), made.Add(999 * time.Microsecond),
		time.Unix(0, 0), time.Unix(0, 1e6), time.Unix(1, 0), time.Unix(-1, 5e6), time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC),
		time.Unix(maxSeconds, 999e6), time.Unix(maxSeconds+1, 0), time.Date(2026, 7, 1, 0, 0, 0, 123e6, time.FixedZone("", 7200)),
	} {
		for _, id := range []string{id, strings.ToUpper(id), "order-1", "01900000-004d-4abc-8def-0123456789ab", "0190000g-004d-7abc-8def-0123456789ab"} {
			m := &broker.Message{ID: id, PublishedAt: at}
			p := mustEncode(t, m)
			if s := at.Unix(); p.Timestamp.IsZero() != (s <= 0 || s > maxSeconds) {
				t.Errorf("the timestamp property for %v is %v: other programs read it as seconds since 1970, to the year 9999", at, p.Timestamp)
			}
			got, _ := received(arrived(t, p))
			wantMessage(t, got, m)
		}
	}
}

// Whatever an application publishes arrives as it was.
func TestAnyMessageSurvivesTheWire(t *testing.T) {
	for seed := range uint64(5000) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := anyMessage(r)
		got, f := received(arrived(t, mustEncode(t, m)))
		wantMessage(t, got, m)
		if f != (facts{attempt: 1}) {
			t.Fatalf("seed %d: a new message has facts %+v", seed, f)
		}
	}
}

// A copy of a copy of a copy is the message that was published, with the attempt and the
// record that were given last, and no generation is larger than the one before.
func TestCopiesKeepTheMessageAndNothingPilesUp(t *testing.T) {
	const generations = 40
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		m := anyMessage(r)
		d := arrived(t, mustEncode(t, m))
		if r.IntN(2) == 0 {
			d.UserId, d.ContentType, d.Expiration = "billing", "application/json", "60000"
		}
		var rec *failure.Record
		size := 0
		for i := range generations {
			noted(d, i)
			if r.IntN(2) == 0 {
				rec = aRecord("the same text in every generation")
			}
			given := rec
			if r.IntN(2) == 0 {
				given = nil // what the message has
				_, f := received(d)
				rec = f.failure
			}
			attempt := 1000 + i // as long as any other
			d = arrived(t, copyOf(d, attempt, given))
			got, f := received(d)
			wantMessage(t, got, m)
			if f.attempt != attempt || f.deliveriesKnown || !reflect.DeepEqual(f.failure, rec) {
				t.Fatalf("seed %d, generation %d: facts are %+v, want attempt %d and record %+v", seed, i, f, attempt, rec)
			}
			p := copyOf(d, attempt, aRecord("the same text in every generation"))
			n := headerBytes(&p)
			if size > 0 && n != size {
				t.Fatalf("seed %d, generation %d: properties and headers take %d bytes, %d before", seed, i, n, size)
			}
			size = n
		}
	}
}

// noted adds what a server notes on the way through a delay queue.
func noted(d *amqp.Delivery, generation int) {
	if d.Headers == nil {
		d.Headers = amqp.Table{}
	}
	d.Headers["x-death"] = []any{amqp.Table{"queue": "q.retry.1000", "reason": "expired", "count": int64(generation), "time": time.Unix(1, 0)}}
	d.Headers["x-first-death-queue"], d.Headers["x-last-death-reason"] = "q.retry.1000", "expired"
	d.Headers["x-delivery-count"] = int64(generation)
}

// A copy has every property that the original had, except those that copyOf documents.
func TestACopyKeepsEveryProperty(t *testing.T) {
	d := &amqp.Delivery{
		ContentType: "application/json", ContentEncoding: "gzip", DeliveryMode: amqp.Transient, Priority: 7, CorrelationId: "c",
		ReplyTo: "replies", Expiration: "1000", MessageId: "id", Timestamp: time.Unix(1700000000, 0), Type: "t", UserId: "u", AppId: "app",
		Body: []byte("body"),
		Headers: amqp.Table{
			"n": int8(-3), "u": uint32(7), "f": float32(1.5), "b": []byte{0xff}, "t": time.Unix(5, 0), "d": amqp.Decimal{Scale: 2, Value: 5},
			"nested": amqp.Table{"list": []any{true, nil, int64(1)}}, "void": nil, "x-delay": int32(5), "anyqueue-of-a-later-release": "kept",
		},
	}
	p := copyOf(d, 1, nil)
	from, to := reflect.ValueOf(*d), reflect.ValueOf(p)
	for i := range to.NumField() {
		name := to.Type().Field(i).Name
		have, want := to.Field(i).Interface(), from.FieldByName(name).Interface()
		switch name {
		case "DeliveryMode":
			want = amqp.Persistent
		case "Expiration", "UserId":
			want = ""
		case "Headers":
			delete(have.(amqp.Table), headerUser)
		}
		if !reflect.DeepEqual(have, want) {
			t.Errorf("%s of the copy is %#v, want %#v", name, have, want)
		}
	}
}

// Making a copy changes neither the original nor its table, which a handler may be reading.
func TestACopyLeavesItsOriginalAlone(t *testing.T) {
	table := func() amqp.Table {
		return amqp.Table{"CC": []any{"a"}, "x-death": []any{}, headerAttempt: int64(3), headerFailure: "{}", "h": "v"}
	}
	d := &amqp.Delivery{Headers: table(), UserId: "u"}
	copyOf(d, 9, aRecord("x"))
	restored := *d
	restore(&restored)
	if !reflect.DeepEqual(d.Headers, table()) || d.UserId != "u" {
		t.Fatalf("the original became %v", d.Headers)
	}
}

// What a copy must not carry in its place (the server would refuse a foreign user-id, and
// route to CC again) is back where it was for who reads the native delivery.
func TestNativeGivesBackWhatACopyHadToMove(t *testing.T) {
	d := &amqp.Delivery{UserId: "billing", MessageId: "id", Headers: amqp.Table{
		"CC": []any{"audit"}, "BCC": []any{"hidden"}, "h": "v",
	}}
	want, _ := received(d)
	first := d.Headers
	for range 3 {
		p := copyOf(d, 2, nil)
		for _, name := range []string{"CC", "BCC"} {
			if _, ok := p.Headers[name]; ok {
				t.Fatalf("the copy has %s, and the server would send it there again", name)
			}
		}
		if p.UserId != "" {
			t.Fatalf("the copy has user-id %q, and the server would refuse it", p.UserId)
		}
		d = arrived(t, p)
		got, _ := received(d)
		wantMessage(t, got, want)
	}
	d.Acknowledger = acknowledger{}
	native, ok := Native(&broker.Delivery{Message: want, Ref: &leased{native: *d}})
	if !ok || native.UserId != "billing" || !reflect.DeepEqual(native.Headers["CC"], first["CC"]) || !reflect.DeepEqual(native.Headers["BCC"], first["BCC"]) {
		t.Fatalf("native delivery is %+v, want user-id, CC and BCC as published", native)
	}
	if native.Ack(false) == nil {
		t.Fatal("a native delivery can be acked: the second ack would end the channel")
	}
	// A tool that publishes the copy again says where it goes now.
	d.Headers["CC"] = []any{"newer"}
	got, _ := received(arrived(t, copyOf(d, 3, nil)))
	if cc := got.Headers.Get("CC"); cc != `["newer"]` || len(got.Headers) != 3 {
		t.Fatalf("headers are %q, want the newer CC once", got.Headers)
	}
	if _, ok := Native(&broker.Delivery{Ref: "of another adapter"}); ok {
		t.Fatal("a delivery of another adapter has a native form")
	}
}

// acknowledger takes whatever is acked.
type acknowledger struct{}

func (acknowledger) Ack(uint64, bool) error        { return nil }
func (acknowledger) Nack(uint64, bool, bool) error { return nil }
func (acknowledger) Reject(uint64, bool) error     { return nil }

// What AMQP cannot carry is refused by name before it is sent: the client would give up
// the connection over it.
func TestFieldsTooLongForAMQPAreRefusedByName(t *testing.T) {
	long := strings.Repeat("x", 256)
	_, err := encode(&broker.Message{ID: long, Type: long})
	if !errors.Is(err, broker.ErrInvalid) || !strings.Contains(err.Error(), "Message.ID") || !strings.Contains(err.Error(), "Message.Type") {
		t.Fatalf("error is %v, want ErrInvalid that names Message.ID and Message.Type", err)
	}
	m := &broker.Message{ID: long[:255], Type: long[:255], Key: long + long, PublishedAt: time.Now(), Headers: broker.Headers{{Name: long, Value: long}}}
	got, _ := received(arrived(t, mustEncode(t, m)))
	wantMessage(t, got, m)
}

// Headers travel in one frame: what does not fit is refused, and what fits leaves room
// for a record, if need be a brief one.
func TestHeadersBeyondAFrameAreRefusedAndRecordsMadeToFit(t *testing.T) {
	m := &broker.Message{ID: "id", PublishedAt: time.Now(), Headers: broker.Headers{{Name: "h", Value: strings.Repeat("v", frameBytes)}}}
	if _, err := encode(m); !errors.Is(err, broker.ErrTooLarge) {
		t.Fatalf("error is %v, want ErrTooLarge", err)
	}
	m.Headers[0].Value = strings.Repeat("v", maxPublished-200)
	d := arrived(t, mustEncode(t, m))
	rec := aRecord("big")
	rec.Stack = strings.Repeat("a line of a stack \"quoted\"\n", 400)
	for i := range 10 {
		rec.Attempts = append(rec.Attempts, failure.Attempt{N: i, Error: strings.Repeat("\x01", 512)})
	}
	p := copyOf(d, 5, rec)
	_, f := received(arrived(t, p))
	if n := headerBytes(&p); n > maxCopied || f.attempt != 5 || f.failure == nil || f.failure.Fingerprint != rec.Fingerprint || f.failure.Stack != "" {
		t.Fatalf("%d bytes, facts %+v; want attempt 5 and a brief record within %d bytes", n, f, maxCopied)
	}
	// A foreign message may leave no room at all.
	d.Headers["foreign"] = strings.Repeat("f", maxCopied-headerBytes(&p)+len(p.Headers[headerFailure].(string)))
	got, f := received(arrived(t, copyOf(d, 5, rec)))
	if f.attempt != 5 || f.failure != nil || got.Headers.Get("foreign") == "" {
		t.Fatalf("facts %+v; want attempt 5 without a record, and the message whole", f)
	}
}

func aRecord(text string) *failure.Record {
	return failure.Next(nil, failure.Observation{Err: errors.New(text), Attempt: 1, At: time.Unix(1700000000, 5e6).UTC(), Source: "q"})
}

// anyMessage returns a message with contents that are easy to damage.
func anyMessage(r *rand.Rand) *broker.Message {
	m := &broker.Message{
		ID: anyText(r, 60), Key: anyText(r, 300), Type: anyText(r, 60), Body: []byte(anyText(r, 100)),
		PublishedAt: time.UnixMilli(r.Int64N(maxSeconds*1000) - 1e12),
	}
	if r.IntN(3) == 0 {
		m.SchemaVersion = []int{1, -1, math.MaxInt32, math.MinInt32}[r.IntN(4)]
	}
	if r.IntN(3) == 0 {
		id := uuid.UUID{6: 0x70, 8: 0x80}
		for i := range 6 {
			id[i] = byte(m.PublishedAt.UnixMilli() >> (40 - 8*i))
		}
		m.ID = id.String()
	}
	for range r.IntN(4) * r.IntN(12) {
		name := anyText(r, 20)
		if r.IntN(12) == 0 {
			names := []string{"CC", "BCC", "x-death", "x-delivery-count", "x-delay", "", "a,b%2C", headerOrder, headerList, headerAttempt, headerUser, headerStamped}
			name = names[r.IntN(len(names))]
		}
		m.Headers.Add(name, anyText(r, 40))
		if r.IntN(20) == 0 { // a name that repeats
			m.Headers.Add(m.Headers[r.IntN(len(m.Headers))].Name, anyText(r, 4))
		}
	}
	return m
}

func anyText(r *rand.Rand, most int) string {
	const letters = "abcxyz,%2C-=\x00\xff\n\"é"
	b := make([]byte, r.IntN(most))
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	return string(b)
}

func BenchmarkEncode(b *testing.B) {
	for _, c := range benchmarkMessages() {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := encode(c.m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range benchmarkMessages() {
		for _, counted := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/counted=%v", c.name, counted), func(b *testing.B) {
				d := arrived(b, mustEncode(b, c.m))
				if counted {
					if d.Headers == nil {
						d.Headers = amqp.Table{}
					}
					d.Headers[headerDelivered] = int64(0)
				}
				b.ReportAllocs()
				for b.Loop() {
					var m broker.Message
					decode(d, &m)
				}
			})
		}
	}
}

func BenchmarkCopy(b *testing.B) {
	d := arrived(b, mustEncode(b, benchmarkMessages()[2].m))
	rec := aRecord("refused")
	b.ReportAllocs()
	for b.Loop() {
		copyOf(d, 2, rec)
	}
}

type namedMessage struct {
	name string
	m    *broker.Message
}

func benchmarkMessages() []namedMessage {
	at := time.UnixMilli(0x0190_0000_0000 + 77).UTC()
	const id = "01900000-004d-7abc-8def-0123456789ab"
	body := make([]byte, 100)
	return []namedMessage{
		{"plain", &broker.Message{ID: id, Type: "order.placed", PublishedAt: at, Body: body}},
		{"key", &broker.Message{ID: id, Key: "customer-17", PublishedAt: at, Body: body}},
		{"headers", &broker.Message{ID: id, Key: "customer-17", PublishedAt: at, Body: body, Headers: broker.Headers{
			{Name: "traceparent", Value: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, {Name: "tenant", Value: "acme"}, {Name: "region", Value: "eu"},
		}}},
	}
}
