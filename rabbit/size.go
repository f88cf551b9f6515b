package rabbit

import (
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// headerBytes is the size of the frame that carries the properties and headers of p. The
// connection dies of one that is larger than both ends agreed on, so that it is known
// before it is sent.
func headerBytes(p *amqp.Publishing) int {
	n := 7 + 14 + 1 // frame header, class, weight, body size, flags; end of frame
	for _, s := range []string{
		p.ContentType, p.ContentEncoding, p.CorrelationId, p.ReplyTo, p.Expiration, p.MessageId, p.Type, p.UserId, p.AppId,
	} {
		if s != "" {
			n += 1 + len(s)
		}
	}
	if p.DeliveryMode > 0 {
		n++
	}
	if p.Priority > 0 {
		n++
	}
	if !p.Timestamp.IsZero() {
		n += 8
	}
	if len(p.Headers) > 0 {
		n += tableBytes(p.Headers)
	}
	return n
}

func tableBytes(t amqp.Table) int {
	n := 4
	for name, value := range t {
		n += entryBytes(name, value)
	}
	return n
}

func entryBytes(name string, value any) int { return 1 + len(name) + fieldBytes(value) }

func fieldBytes(value any) int {
	switch v := value.(type) {
	case bool, byte, int8:
		return 2
	case int16, uint16:
		return 3
	case int, int32, uint32, float32:
		return 5
	case amqp.Decimal:
		return 6
	case int64, float64, time.Time:
		return 9
	case string:
		return 5 + len(v)
	case []byte:
		return 5 + len(v)
	case amqp.Table:
		return 1 + tableBytes(v)
	case []any:
		n := 5
		for _, x := range v {
			n += fieldBytes(x)
		}
		return n
	}
	return 1 // void
}
