package rabbit

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
)

// Every type that a table can hold has one text, and an application can rely on it.
func TestEveryTypeOfAForeignHeaderHasAText(t *testing.T) {
	for want, value := range map[string]any{
		"as it is \xff":        "as it is \xff",
		"bytes \x00\xff":       []byte("bytes \x00\xff"),
		"":                     nil,
		"true":                 true,
		"-8":                   int8(-8),
		"8":                    uint8(8),
		"-16":                  int16(-16),
		"65535":                uint16(65535),
		"-32":                  int32(-32),
		"4294967295":           uint32(math.MaxUint32),
		"-9223372036854775808": int64(math.MinInt64),
		"0.1":                  float32(0.1),
		"1e+300":               1e300,
		"NaN":                  math.NaN(),
		"+Inf":                 math.Inf(1),
		"2026-03-01T11:30:00Z": time.Date(2026, 3, 1, 12, 30, 0, 0, time.FixedZone("", 3600)),
		"123.45":               amqp.Decimal{Scale: 2, Value: 12345},
		"-0.05":                amqp.Decimal{Scale: 2, Value: -5},
		"0.00":                 amqp.Decimal{Scale: 2, Value: 0},
		"-2147483648":          amqp.Decimal{Value: math.MinInt32},
		"0.12":                 amqp.Decimal{Scale: 2, Value: 12},
		`{"a":[1,null,"x"],"b":{"f":1.5,"nan":"NaN"},"z":"\ufffd"}`: amqp.Table{
			"z": []byte{0xff}, "b": amqp.Table{"nan": math.NaN(), "f": 1.5}, "a": []any{int32(1), nil, "x"},
		},
		`[1.50,true,"1970-01-01T00:00:01Z","-Inf",{}]`: []any{amqp.Decimal{Scale: 2, Value: 150}, true, time.Unix(1, 0), float32(math.Inf(-1)), amqp.Table{}},
	} {
		if got := textOf(value); got != want {
			t.Errorf("text of %T %v is %q, want %q", value, value, got, want)
		}
	}
}

// The text of any time and number in a nested value is JSON, and nesting has an end.
func TestNestedHeadersAreAlwaysJSON(t *testing.T) {
	for _, value := range []any{
		amqp.Table{"t": time.Unix(math.MaxInt64, 0), "u": time.Unix(math.MinInt64, 0), "d": amqp.Decimal{Scale: 255, Value: math.MinInt32}},
		[]any{math.MaxFloat64, float32(math.SmallestNonzeroFloat32), "\x00\"\\</script>\u2028", struct{}{}},
		nested(10000),
	} {
		if s := textOf(value); !json.Valid([]byte(s)) {
			t.Errorf("%.200s is not JSON", s)
		}
	}
}

// What the client reads at its deepest is written whole, and nothing is followed for ever.
func TestNestingHasAnEndBeyondWhatTheClientReads(t *testing.T) {
	if s := textOf(nested(32)); !strings.Contains(s, "deep") {
		t.Errorf("%s lost what the client can read", s)
	}
	if s := textOf(nested(10000)); len(s) > 1000 {
		t.Errorf("%d bytes for what lies deeper than the client reads", len(s))
	}
}

func nested(depth int) any {
	var value any = "deep"
	for i := range depth {
		if i%2 == 0 {
			value = []any{value}
		} else {
			value = amqp.Table{"t": value}
		}
	}
	return value
}

// What another program published is a message: its headers by name, what the server noted
// left out, no identity made up.
func TestAForeignMessageIsDeliveredAsItIs(t *testing.T) {
	got, f := received(&amqp.Delivery{
		Redelivered: true,
		Type:        "t", Timestamp: time.Unix(1700000000, 0), Body: []byte("b"),
		Headers: amqp.Table{
			"zeta": int32(7), "alpha": []any{"x"}, "CC": []any{"audit"}, "": "nameless",
			"x-death": []any{}, "x-delivery-count": int64(3), "x-first-death-queue": "q", "x-acquired-count": int64(3), "x-other": "kept",
		},
	})
	wantMessage(t, got, &broker.Message{
		Type: "t", Body: []byte("b"), PublishedAt: time.Unix(1700000000, 0),
		Headers: broker.Headers{{Name: "", Value: "nameless"}, {Name: "CC", Value: `["audit"]`}, {Name: "alpha", Value: `["x"]`}, {Name: "x-other", Value: "kept"}, {Name: "zeta", Value: "7"}},
	})
	if f != (facts{attempt: 1, deliveries: 3, deliveriesKnown: true}) {
		t.Fatalf("facts are %+v, want attempt 1 and 3 deliveries", f)
	}
	if got, f := received(&amqp.Delivery{}); !got.PublishedAt.IsZero() || got.ID != "" || got.Headers != nil || f != (facts{attempt: 1}) {
		t.Fatalf("an empty delivery is %+v, %+v; want nothing stated", got, f)
	}
}

// Timestamps are seconds by the protocol; writers of milliseconds are understood, and
// times in no unit are none.
func TestForeignTimestampsAreUnderstood(t *testing.T) {
	want := time.UnixMilli(1700000000123).UTC()
	for _, c := range []struct {
		what string
		d    amqp.Delivery
		ms   int64
		none bool
	}{
		{what: "seconds", d: amqp.Delivery{Timestamp: time.Unix(1700000000, 0)}, ms: 1700000000000},
		{what: "milliseconds", d: amqp.Delivery{Timestamp: time.Unix(1700000000123, 0)}, ms: want.UnixMilli()},
		{what: "the server's interceptor", d: amqp.Delivery{Timestamp: time.Unix(1700000000, 0), Headers: amqp.Table{headerStamped: want.UnixMilli()}}, ms: want.UnixMilli()},
		{what: "an interceptor of another time", d: amqp.Delivery{Timestamp: time.Unix(1700000000, 0), Headers: amqp.Table{headerStamped: int64(5)}}, ms: 1700000000000},
		{what: "a text like an interceptor's", d: amqp.Delivery{Timestamp: time.Unix(1700000000, 0), Headers: amqp.Table{headerStamped: "1700000000123"}}, ms: 1700000000000},
		{what: "an identity of that second", d: amqp.Delivery{Timestamp: time.Unix(0x0190_0000_0000/1000, 0), MessageId: "01900000-0005-7abc-8def-0123456789ab"}, ms: 0x0190_0000_0005},
		{what: "an identity of another second", d: amqp.Delivery{Timestamp: time.Unix(1700000000, 0), MessageId: "01900000-0005-7abc-8def-0123456789ab"}, ms: 1700000000000},
		{what: "our header as text", d: amqp.Delivery{Headers: amqp.Table{headerPublished: "1700000000123"}}, ms: want.UnixMilli()},
		{what: "none", none: true},
		{what: "zero", d: amqp.Delivery{Timestamp: time.Unix(0, 0)}, none: true},
		{what: "nanoseconds", d: amqp.Delivery{Timestamp: time.Unix(1700000000123456789, 0)}, none: true},
		{what: "negative", d: amqp.Delivery{Timestamp: time.Unix(math.MinInt64, 0)}, none: true},
	} {
		m, _ := received(&c.d)
		if m.PublishedAt.IsZero() != c.none || !c.none && m.PublishedAt.UnixMilli() != c.ms {
			t.Errorf("%s: PublishedAt is %v, want none %v or %v", c.what, m.PublishedAt, c.none, time.UnixMilli(c.ms).UTC())
		}
	}
}

// Headers of ours with nonsense in them count as absent: the message is delivered.
func TestNonsenseInOurHeadersCountsAsAbsent(t *testing.T) {
	for _, nonsense := range []any{
		nil, "", "seven", "-3", int64(-3), int64(0), int64(math.MaxInt64), math.NaN(),
		[]any{},
		[]any{nil},
		[]any{"x"},
		[]any{int64(1), "x"},
		amqp.Table{},
		time.Unix(1, 0),
		[]byte{0xff},
		strings.Repeat("9", 100), `{"v":99}`, "null", strings.Repeat("{", 40<<10), ",,,%",
	} {
		table := amqp.Table{"h": "v"}
		for _, name := range []string{headerAttempt, headerFailure, headerOrder, headerList, headerUser, headerDelivered, headerDeath} {
			table[name] = nonsense
		}
		d := &amqp.Delivery{MessageId: "id", Headers: table, Redelivered: true}
		m, f := received(d)
		if f.attempt != 1 || f.deliveries < 0 || f.failure != nil || m.ID != "id" || !slices.Equal(m.Headers, broker.Headers{{Name: "h", Value: "v"}}) {
			t.Errorf("%T %.40v: message %+v, facts %+v; want the message as it is, attempt 1, no record", nonsense, nonsense, m, f)
		}
		if got := deathRecord(d, 1, nil); got != nil {
			t.Errorf("%T %.40v as x-death: record %+v, want none", nonsense, nonsense, got)
		}
	}
}

// Numbers of ours are read whatever integer another client or tool made of them.
func TestNumbersOfOursAreReadInAnySize(t *testing.T) {
	for _, n := range []any{int8(5), uint8(5), int16(5), uint16(5), int32(5), uint32(5), int64(5), "5", []byte("5")} {
		m, f := received(&amqp.Delivery{Redelivered: true, Headers: amqp.Table{headerAttempt: n, headerVersion: n, headerDelivered: n}})
		if f.attempt != 5 || f.deliveries != 5 || m.SchemaVersion != 5 {
			t.Errorf("%T: attempt, deliveries, version are %d, %d, %d, want 5", n, f.attempt, f.deliveries, m.SchemaVersion)
		}
	}
}
