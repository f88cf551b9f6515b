package rabbit

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
)

// source turns fuzzing data into values of tables. Every byte sequence is some value.
type source struct{ data []byte }

func (s *source) byte() byte {
	if len(s.data) == 0 {
		return 0
	}
	b := s.data[0]
	s.data = s.data[1:]
	return b
}

func (s *source) text() string {
	n := min(int(s.byte()), len(s.data))
	t := string(s.data[:n])
	s.data = s.data[n:]
	return t
}

func (s *source) number() (n int64) {
	for range int(s.byte()) % 9 {
		n = n<<8 | int64(s.byte())
	}
	return n
}

// names that the adapter or the server gives a meaning; others come from the data.
var names = []string{
	headerAttempt, headerFailure, headerKey, headerVersion, headerPublished, headerOrder, headerList, headerUser, headerCC, headerBCC,
	carbonCopy, blindCarbonCopy, headerDeath, headerDelivered, headerStamped, "x-acquired-count", "h", "a", "",
}

func (s *source) name() string {
	if i := int(s.byte()); i < len(names) {
		return names[i]
	}
	return s.text()
}

func (s *source) value(depth int) any {
	kind := s.byte() % 19
	if depth > 200 {
		kind = 0
	}
	switch kind {
	case 1:
		return s.byte() > 127
	case 2:
		return s.byte()
	case 3:
		return int8(s.byte())
	case 4:
		return int16(s.number())
	case 5:
		return uint16(s.number())
	case 6:
		return int32(s.number())
	case 7:
		return uint32(s.number())
	case 8:
		return s.number()
	case 9:
		return math.Float32frombits(uint32(s.number()))
	case 10:
		return math.Float64frombits(uint64(s.number()))
	case 11:
		return amqp.Decimal{Scale: s.byte(), Value: int32(s.number())}
	case 12:
		return time.Unix(s.number(), 0)
	case 13:
		return []byte(s.text())
	case 14:
		return s.table(depth)
	case 15:
		list := []any{}
		for n := s.byte() % 8; n > 0 && len(s.data) > 0; n-- {
			list = append(list, s.value(depth+1))
		}
		return list
	case 16: // deep
		value := s.value(depth + 100)
		for n := s.byte(); n > 0; n-- {
			value = []any{value}
		}
		return value
	case 17:
		return s.name()
	case 18:
		return s.text()
	}
	return nil
}

func (s *source) table(depth int) amqp.Table {
	t := amqp.Table{}
	for n := s.byte() % 16; n > 0 && len(s.data) > 0; n-- {
		name := s.name()
		t[name] = s.value(depth + 1)
	}
	return t
}

// Whatever is delivered, reading it ends, says the same twice, and a copy of it reads the
// same.
func FuzzDecode(f *testing.F) {
	f.Add("", "", int64(0), []byte(nil))
	f.Add("id", "t", int64(1700000000), []byte{3, 0, 8, 1, 5, 16, 18, 1, 'v', 17, 18, 2, 'v', 'w'})
	f.Add("01900000-004d-7abc-8def-0123456789ab", "", int64(math.MaxInt64), []byte{2, 5, 18, 7, 'a', ',', 'h', ',', ',', 'a', '%', 6, 15, 4, 17, 16, 0, 17, 17, 18, 1, 'x'})
	f.Add("id", "t", int64(math.MinInt64), []byte{5, 12, 15, 1, 14, 3, 255, 5, 'q', 'u', 'e', 'u', 'e', 18, 1, 'q', 10, 16, 18, 1, 'x', 255, 8, 18, 1, 'y', 11, 14, 0, 14, 8, 8, 200})
	f.Add("id", "t", int64(1), []byte{4, 1, 18, 20, '{', '"', 'v', '"', ':', '1', ',', '"', 'c', 'o', 'u', 'n', 't', '"', ':', '-', '1', '}', ' ', ' ', 2, 13, 2, 0xff, 0xfe, 16, 16, 18, 1, 'z', 255, 17, 16, 10, 8, 255, 255, 255, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, id, kind string, stamp int64, data []byte) {
		d := &amqp.Delivery{MessageId: id, Type: kind, Timestamp: time.Unix(stamp, 0), Headers: (&source{data}).table(0), Redelivered: stamp%2 == 0}
		var m, again, copied broker.Message
		first := decode(d, &m)
		second := decode(d, &again)
		if !reflect.DeepEqual(m, again) || !reflect.DeepEqual(first, second) {
			t.Fatalf("the same delivery reads as\n%+v %+v and\n%+v %+v", m, first, again, second)
		}
		if first.attempt < 1 || first.deliveries < 0 || !m.PublishedAt.IsZero() && m.PublishedAt.Location() != time.UTC {
			t.Fatalf("facts are %+v of %+v", first, m)
		}
		for name, value := range d.Headers {
			switch value.(type) {
			case amqp.Table, []any:
				if s := textOf(value); !json.Valid([]byte(s)) {
					t.Fatalf("header %q is not JSON: %s", name, s)
				}
			}
		}
		if rec := deathRecord(d, first.attempt, first.failure); rec != nil {
			if _, err := rec.Encode(); err != nil {
				t.Fatal(err)
			}
		}
		p := copyOf(d, first.attempt, nil)
		for name := range p.Headers {
			if brokerMade(name) || name == carbonCopy || name == blindCarbonCopy {
				t.Fatalf("the copy has header %q", name)
			}
		}
		c := &amqp.Delivery{MessageId: p.MessageId, Type: p.Type, Timestamp: p.Timestamp, Headers: p.Headers}
		third := decode(c, &copied)
		third.deliveries, third.deliveriesKnown = first.deliveries, first.deliveriesKnown // the server's
		if !reflect.DeepEqual(m, copied) || !reflect.DeepEqual(first, third) {
			t.Fatalf("a delivery reads as\n%+v %+v and its copy as\n%+v %+v", m, first, copied, third)
		}
		restore(d)
	})
}

// Whatever is published is refused with a category, or arrives as it was and fits.
func FuzzEncode(f *testing.F) {
	f.Add("id", "key", "type", int64(1700000000123), 1, []byte{2, 255, 1, 'b', 1, 'x', 255, 1, 'a', 1, 'y'})
	f.Add("01900000-004d-7abc-8def-0123456789ab", "\xff", "", int64(0x0190_0000_004d), 0, []byte{10, 1, 'x', 16, 0, 16, 0, 18, 0})
	f.Fuzz(func(t *testing.T, id, key, kind string, ms int64, version int, data []byte) {
		m := &broker.Message{ID: id, Key: key, Type: kind, SchemaVersion: version, PublishedAt: time.UnixMilli(ms)}
		for s := (&source{data}); len(s.data) > 0; {
			name := s.name()
			m.Headers.Add(name, s.text())
		}
		p, err := encode(m)
		if err != nil {
			if !errors.Is(err, broker.ErrInvalid) && !errors.Is(err, broker.ErrTooLarge) {
				t.Fatalf("error %v has no category", err)
			}
			return
		}
		got, _ := received(arrived(t, p))
		wantMessage(t, got, m)
	})
}
