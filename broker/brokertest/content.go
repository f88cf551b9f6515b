package brokertest

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

var contentCases = []testCase{
	{name: "EveryFieldSurvives", promise: contentIsKept, run: everyFieldSurvives},
	{name: "AnyBodySurvives", promise: contentIsKept, run: anyBodySurvives},
	{name: "HeadersSurviveInOrderAndByteForByte", promise: contentIsKept, run: headersSurvive},
	{name: "ARepeatedHeaderNameNeverChangesWhatGetReturns", promise: contentIsKept, run: repeatedHeaders},
	{name: "AnIDAndATimeAreAssignedWhenThereAreNone", promise: contentIsKept, run: identityAssigned},
	{name: "AKeySurvives", promise: contentIsKept, run: keySurvives},
	{name: "ALargeBodySurvives", promise: contentIsKept, run: largeBodySurvives},
	{name: "APublishedMessageMayBeReusedByItsPublisher", promise: contentIsKept, run: publishedMessageIsCopied},
}

// delivered publishes one message and compares what arrives.
func (q *queue) delivered(what string, m *broker.Message) {
	q.Helper()
	// What is compared is the message as it was given: an adapter that changes the
	// caller's own copy is found out, too.
	want := m.Clone()
	q.publish(m)
	if want.ID == "" {
		want.ID, want.PublishedAt = m.ID, m.PublishedAt
	}
	g := q.one()
	q.sameMessage(what, g.by.caps, g.Message, want)
	g.ack()
}

// ID, Type, SchemaVersion, PublishedAt, Headers and Body arrive as they were
// published.
func everyFieldSurvives(e *env) {
	q := e.queue()
	q.consumer()
	m := rich()
	m.Key = "" // a case of its own
	q.delivered("a message that uses every field", m)
}

// A body is bytes: empty, not UTF-8, with zeros at its ends.
func anyBodySurvives(e *env) {
	q := e.queue()
	q.consumer()
	for what, body := range map[string][]byte{
		"no body":                   nil,
		"an empty body":             {},
		"one zero byte":             {0},
		"one space":                 []byte(" "),
		"all bytes":                 []byte(allBytes()),
		"not UTF-8":                 {0xff, 0xfe, 0xc0, 0x80, 0xed, 0xa0, 0x80},
		"zeros around":              []byte("\x00\x00body\x00\x00"),
		"a byte order mark":         []byte("\xef\xbb\xbf{}\r\n"),
		"what looks like base64":    []byte("aGVsbG8="),
		"what looks like a record":  []byte(`{"v":1,"class":"bug","fingerprint":"x","count":1}`),
		"60 KiB of changing binary": bytes.Repeat([]byte(allBytes()), 240),
	} {
		q.delivered(what, &broker.Message{Body: body})
	}
}

// Header values are bytes, names are compared exactly, and order is kept.
func headersSurvive(e *env) {
	q := e.queue()
	q.consumer()
	for what, headers := range map[string]broker.Headers{
		"no headers":          nil,
		"an empty value":      {{Name: "empty"}},
		"names by case":       {{Name: "a", Value: "1"}, {Name: "A", Value: "2"}},
		"order":               {{Name: "z", Value: "1"}, {Name: "a", Value: "2"}, {Name: "m", Value: "3"}},
		"all bytes":           {{Name: "bytes", Value: allBytes()}},
		"not UTF-8":           {{Name: "bytes", Value: "\xff\xfe\x00"}},
		"odd names":           {{Name: " spaces ", Value: "1"}, {Name: "ünï-☃", Value: "2"}, {Name: "a=b;c\"d:", Value: "3"}},
		"a long value":        {{Name: "long", Value: strings.Repeat("0123456789", 400)}},
		"names brokers use":   {{Name: "x-death", Value: "1"}, {Name: "x-delay", Value: "2"}, {Name: "content-type", Value: "3"}},
		"thirty small values": thirtyHeaders(),
	} {
		q.delivered(what, &broker.Message{Headers: headers, Body: []byte(what)})
	}
}

func thirtyHeaders() broker.Headers {
	var h broker.Headers
	for i := range 30 {
		h.Add("header-"+string(rune('A'+i)), strings.Repeat("v", i))
	}
	return h
}

// Where a broker keeps every header of one name, all arrive in order; where it
// does not, the last one counts, as Headers.Get says, or publishing is refused.
func repeatedHeaders(e *env) {
	q := e.queue()
	q.consumer()
	m := plain("repeated")
	m.Headers = broker.Headers{{Name: "tag", Value: "1"}, {Name: "other", Value: "2"}, {Name: "tag", Value: "3"}}
	want := m.Headers.Clone()
	if err := q.tryPublish(q.Name, m); err != nil {
		if !errors.Is(err, broker.ErrInvalid) {
			e.Errorf("publish with a repeated header name: error is %v, want nil or one that matches broker.ErrInvalid", err)
		}
		q.empty()
		return
	}
	g := q.one()
	if len(g.Headers) == len(want) {
		e.sameHeaders("repeated header names", g.Headers, want)
	} else if g.Headers.Get("tag") != "3" || g.Headers.Get("other") != "2" {
		e.Errorf("headers %q were delivered as %q: the last of a name must win", want, g.Headers)
	}
	g.ack()
}

// A message without an ID is given one, which the publisher can read and every
// consumer sees, and the time of its publication.
func identityAssigned(e *env) {
	q := e.queue()
	q.consumer()
	before := time.Now()
	ms := numbered(3)
	q.publish(ms...)
	after := time.Now()
	var ids []string
	for _, m := range ms {
		if m.ID == "" || slices.Contains(ids, m.ID) {
			e.Errorf("the ID assigned by Publish is %q, others are %q; want a new one for each message", m.ID, ids)
		}
		ids = append(ids, m.ID)
		if m.PublishedAt.Before(before.Truncate(time.Millisecond)) || m.PublishedAt.After(after) {
			e.Errorf("the time assigned by Publish is %v, want between %v and %v", m.PublishedAt, before.UTC(), after.UTC())
		}
	}
	for _, g := range q.receive(len(ms)) {
		i := slices.Index(ids, g.ID)
		if i < 0 {
			e.Errorf("a message arrived with ID %q, published were %q", g.ID, ids)
			continue
		}
		e.sameMessage("with an assigned identity", g.by.caps, g.Message, ms[i])
		g.ack()
	}
}

// A key arrives as it was given, whatever its bytes.
func keySurvives(e *env) {
	q := e.queue()
	a := q.consumer()
	e.needs(a.caps.Keys, "a broker that carries keys: Capabilities.Keys is false")
	for _, key := range []string{"k", "customer:0815/ü", "\x00\xff", strings.Repeat("long", 50)} {
		m := plain("with a key")
		m.Key = key
		q.delivered("a message with a key", m)
	}
}

// A body just below the largest that the broker takes arrives whole.
func largeBodySurvives(e *env) {
	q := e.queue()
	a := q.consumer()
	const most, framing = 1 << 20, 16 << 10
	size := most
	if limit := a.caps.MaxMessageBytes; limit > 0 {
		size = min(most, limit-min(framing, limit/4)) // leaves room for the broker's framing
	}
	q.delivered("a large body", plain(strings.Repeat("0123456789abcdef", size/16)))
}

// Once Publish returned, the message is the publisher's again: what it does to
// it does not reach the queue.
func publishedMessageIsCopied(e *env) {
	q := e.queue()
	q.consumer()
	m := rich()
	m.Key = ""
	want := m.Clone()
	q.publish(m)
	clear(m.Body)
	clear(m.Headers)
	m.Type = "changed"
	g := q.one()
	e.sameMessage("after the publisher reused its message", g.by.caps, g.Message, want)
	g.ack()
}
