package rabbit

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/failure"
)

func died(reason string, more ...any) *amqp.Delivery {
	latest := amqp.Table{"queue": "orders", "reason": reason, "count": int64(1), "time": time.Unix(1700000000, 0), "exchange": "", "routing-keys": []any{"orders"}}
	return &amqp.Delivery{Headers: amqp.Table{"x-death": append([]any{latest}, more...)}}
}

// A message that the server dead-lettered itself says why, from where and when.
func TestADeathByTheServerBecomesAFailureRecord(t *testing.T) {
	for _, c := range []struct {
		reason string
		class  failure.Class
		says   string
	}{
		{"delivery_limit", failure.ClassCrash, "delivery limit"},
		{"expired", failure.ClassTimeout, "time to live"},
		{"maxlen", failure.ClassResource, "full queue"},
		{"rejected", failure.ClassUnclassified, "a consumer other than anyqueue"},
		{"a reason of a later server", failure.ClassUnclassified, "a reason of a later server"},
	} {
		older := amqp.Table{"queue": "orders.retry.1000", "reason": "expired", "count": int64(7)}
		rec := deathRecord(died(c.reason, older), 3, nil)
		if rec == nil || rec.Class != c.class || rec.Count != 1 || rec.Source != "orders" || !rec.Last.Equal(time.Unix(1700000000, 0)) {
			t.Fatalf("%s: record is %+v, want class %s from orders at the time of death", c.reason, rec, c.class)
		}
		if text := rec.Chain[0].Message; !strings.Contains(text, c.says) || !strings.Contains(text, `"orders"`) || rec.Attempts[0].N != 3 {
			t.Errorf("%s: record says %q of attempt %d, want %q, the queue, and attempt 3", c.reason, text, rec.Attempts[0].N, c.says)
		}
		if _, err := rec.Encode(); err != nil {
			t.Errorf("%s: %v", c.reason, err)
		}
	}
}

// Deaths are failures among others: an earlier record goes on, and equal deaths have one
// fingerprint.
func TestADeathContinuesTheRecordThatTheMessageHas(t *testing.T) {
	first := failure.Next(nil, failure.Observation{Err: errors.New("refused"), Attempt: 1, At: time.Unix(1600000000, 0).UTC()})
	rec := deathRecord(died("delivery_limit"), 2, first)
	if rec.Count != 2 || len(rec.Attempts) != 2 || !rec.First.Equal(first.First) || first.Count != 1 {
		t.Fatalf("record is %+v, want the failure before and this one", rec)
	}
	if again := deathRecord(died("delivery_limit"), 9, nil); again.Fingerprint != rec.Fingerprint {
		t.Fatalf("fingerprints of equal deaths are %s and %s", again.Fingerprint, rec.Fingerprint)
	}
	if got := deathRecord(&amqp.Delivery{}, 1, first); got != first {
		t.Fatalf("record of a message without a death is %+v, want the one it has", got)
	}
}

// What a server or a forger left incomplete is read as far as it goes.
func TestAnIncompleteDeathIsReadAsFarAsItGoes(t *testing.T) {
	d := &amqp.Delivery{Headers: amqp.Table{"x-death": []any{amqp.Table{"reason": []byte("expired"), "count": "x", "queue": int32(5), "time": "now"}}}}
	rec := deathRecord(d, 1, nil)
	if rec == nil || rec.Class != failure.ClassTimeout || rec.Source != "" || !rec.Last.IsZero() || !strings.Contains(rec.Chain[0].Message, "unnamed queue") {
		t.Fatalf("record is %+v, want a timeout of an unnamed queue at no known time", rec)
	}
	for _, x := range []any{nil, "expired", []any{}, []any{"expired"}, []any{amqp.Table{}}, amqp.Table{"reason": "expired"}} {
		if got := deathRecord(&amqp.Delivery{Headers: amqp.Table{"x-death": x}}, 1, nil); !reflect.DeepEqual(got, (*failure.Record)(nil)) {
			t.Errorf("x-death %v gives %+v, want no record", x, got)
		}
	}
}
