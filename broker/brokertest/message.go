package brokertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// numbered returns n messages whose bodies tell them apart.
func numbered(n int) []*broker.Message {
	ms := make([]*broker.Message, n)
	for i := range ms {
		ms[i] = plain(fmt.Sprintf("message %d", i))
	}
	return ms
}

// plain returns a message with a body and nothing else.
func plain(body string) *broker.Message { return &broker.Message{Body: []byte(body)} }

// keyed returns messages of one key, "key 0" to "key n-1".
func keyed(key string, n int) []*broker.Message {
	ms := make([]*broker.Message, n)
	for i := range ms {
		ms[i] = &broker.Message{Key: key, Body: fmt.Appendf(nil, "%s %d", key, i)}
	}
	return ms
}

// allBytes holds every byte once: not UTF-8, with zeros, quotes and line ends.
func allBytes() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}

// rich returns a message that uses every field, with contents that are easy to
// damage.
func rich() *broker.Message {
	return &broker.Message{
		ID:            "order/4711 – ünïcode 🧾",
		Key:           "customer:0815/ü",
		Type:          "refund.requested",
		SchemaVersion: 3,
		Headers: broker.Headers{
			{Name: "tenant", Value: "acme"},
			{Name: "Tenant", Value: "names are compared exactly"},
			{Name: "traceparent", Value: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
			{Name: "odd bytes", Value: allBytes()},
			{Name: "empty", Value: ""},
			{Name: "ünïcode-☃", Value: " leading and trailing \n"},
		},
		Body: []byte("{\"note\":\"\\u0000 é ☃\"}\r\n\x00\xff\xfe trailing zeros \x00\x00"),
		// Broker clocks keep milliseconds; a PublishedAt in the past shows that it is
		// carried and not made up on arrival.
		PublishedAt: time.Now().UTC().Add(-90 * time.Minute).Truncate(time.Millisecond),
	}
}

// record returns a failure record that uses every field.
func record(note string) *failure.Record {
	first := time.Date(2026, 3, 1, 12, 30, 0, 123456789, time.UTC)
	last := first.Add(42 * time.Second)
	return &failure.Record{
		Version:     1,
		Class:       failure.ClassDependency,
		Fingerprint: "d41d8cd98f00b204",
		Chain: []failure.Cause{
			{Type: "*fmt.wrapError", Message: note + ": charge card: dial tcp 192.0.2.7:443: i/o timeout"},
			{Type: "*net.OpError", Message: "zażółć \"quoted\"\n\ttabbed <&>"},
		},
		Stack: strings.Repeat("example.com/shop/refund.(*Handler).Pay(...)\n\t/src/refund/pay.go:42 +0x1d\n", 20),
		Attempts: []failure.Attempt{
			{N: 1, At: first, Class: failure.ClassTimeout, Error: "context deadline exceeded"},
			{N: 2, At: last, Class: failure.ClassDependency, Error: note},
		},
		Count: 2, First: first, Last: last,
		Source: "refunds", Consumer: "refund-worker", Host: "host-1", CodeVersion: "v1.2.3",
		TraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
	}
}

// sameRecord fails unless two records say the same.
func (e *env) sameRecord(what string, have, want *failure.Record) {
	e.Helper()
	if (have == nil) != (want == nil) {
		e.Errorf("%s: the failure record is %.100s, want %.100s", what, asJSON(have), asJSON(want))
		return
	}
	if h, w := asJSON(have), asJSON(want); h != w {
		e.Errorf("%s: the failure record changed\n have %s\n want %s", what, around(h, w), around(w, h))
	}
}

// asJSON is the encoding in which records are compared: it knows no difference
// between empty and absent, nor between time zones of one instant.
func asJSON(r *failure.Record) string {
	if r == nil {
		return "none"
	}
	c := *r
	c.First, c.Last = c.First.UTC(), c.Last.UTC()
	c.Attempts = slices.Clone(c.Attempts)
	for i := range c.Attempts {
		c.Attempts[i].At = c.Attempts[i].At.UTC()
	}
	b, err := json.Marshal(c)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// around returns the part of s where it starts to differ from other.
func around(s, other string) string {
	const before, after = 40, 80
	i := 0
	for i < min(len(s), len(other)) && s[i] == other[i] {
		i++
	}
	return fmt.Sprintf("...%s...", s[max(0, i-before):min(len(s), i+after)])
}

// sameMessage fails for each part of a delivered message that is not what was
// published.
func (e *env) sameMessage(what string, caps broker.Capabilities, have, want *broker.Message) {
	e.Helper()
	if have.ID != want.ID {
		e.Errorf("%s: ID is %q, want %q", what, have.ID, want.ID)
	}
	if caps.Keys && have.Key != want.Key {
		e.Errorf("%s: Key is %q, want %q", what, have.Key, want.Key)
	}
	if have.Type != want.Type || have.SchemaVersion != want.SchemaVersion {
		e.Errorf("%s: Type and SchemaVersion are %q %d, want %q %d",
			what, have.Type, have.SchemaVersion, want.Type, want.SchemaVersion)
	}
	if d := have.PublishedAt.Sub(want.PublishedAt).Abs(); d >= time.Millisecond {
		e.Errorf("%s: PublishedAt is %v, want %v", what, have.PublishedAt, want.PublishedAt)
	}
	if have.PublishedAt.Location() != time.UTC {
		e.Errorf("%s: PublishedAt is in %v, want UTC", what, have.PublishedAt.Location())
	}
	e.sameHeaders(what, have.Headers, want.Headers)
	if !bytes.Equal(have.Body, want.Body) {
		e.Errorf("%s: the body changed\n have %s\n want %s", what, excerpt(have.Body), excerpt(want.Body))
	}
}

func (e *env) sameHeaders(what string, have, want broker.Headers) {
	e.Helper()
	if len(have) != len(want) {
		e.Errorf("%s: %d headers %q, want %d %q", what, len(have), have, len(want), want)
		return
	}
	for i := range want {
		if have[i] != want[i] {
			e.Errorf("%s: header %d is %q: %q, want %q: %q",
				what, i, have[i].Name, have[i].Value, want[i].Name, want[i].Value)
		}
	}
}

// excerpt keeps a report readable.
func excerpt(b []byte) string {
	const most = 200
	if len(b) <= most {
		return fmt.Sprintf("%d bytes %q", len(b), b)
	}
	return fmt.Sprintf("%d bytes %q...%q", len(b), b[:most/2], b[len(b)-most/2:])
}

// bodies lists deliveries for a report.
func bodies(gots []*got) string {
	var b strings.Builder
	for _, g := range gots {
		fmt.Fprintf(&b, "\n  %s, id %s, attempt %d, abandoned %d", excerpt(g.Body), g.ID, g.Attempt, g.Abandoned)
	}
	return b.String()
}

// sameBodies fails unless the deliveries are these messages, in any order.
func (e *env) sameBodies(what string, gots []*got, want ...string) {
	e.Helper()
	have := make([]string, len(gots))
	for i, g := range gots {
		have[i] = string(g.Body)
	}
	slices.Sort(have)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(have, want) {
		e.Errorf("%s: got %q, want %q", what, have, want)
	}
}

// wantLost fails unless err says that the lease was lost.
func (e *env) wantLost(what string, err error) {
	e.Helper()
	if !errors.Is(err, broker.ErrLeaseLost) {
		e.Errorf("%s: error is %v, want one that matches broker.ErrLeaseLost", what, err)
	}
}
