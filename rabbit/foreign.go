package rabbit

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// textOf returns the value of a table's entry as the text that an application sees:
// strings and bytes as they are, numbers in decimal, times in RFC 3339, void as "",
// tables and arrays as JSON with sorted names.
func textOf(value any) string {
	if s, ok := value.(string); ok { // all that we publish ourselves
		return s
	}
	switch v := value.(type) {
	case nil:
		return ""
	case []byte:
		return string(v)
	case amqp.Table, []any:
		return string(appendJSON(nil, value, 0))
	}
	return string(appendScalar(nil, value))
}

// appendScalar writes numbers, booleans, times; nothing for what is none of them.
func appendScalar(b []byte, value any) []byte {
	if n, ok := wholeNumber(value); ok {
		return strconv.AppendInt(b, n, 10)
	}
	switch v := value.(type) {
	case bool:
		return strconv.AppendBool(b, v)
	case float32:
		return strconv.AppendFloat(b, float64(v), 'g', -1, 32)
	case float64:
		return strconv.AppendFloat(b, v, 'g', -1, 64)
	case time.Time:
		return v.UTC().AppendFormat(b, time.RFC3339Nano)
	case amqp.Decimal:
		return appendDecimal(b, v)
	}
	return b
}

// appendDecimal writes 123.45 for a value of 12345 and a scale of 2.
func appendDecimal(b []byte, d amqp.Decimal) []byte {
	digits := strconv.FormatUint(uint64(max(int64(d.Value), -int64(d.Value))), 10)
	if d.Value < 0 {
		b = append(b, '-')
	}
	whole := len(digits) - int(d.Scale)
	if whole <= 0 {
		b = append(b, '0')
	} else {
		b = append(b, digits[:whole]...)
	}
	if d.Scale == 0 {
		return b
	}
	b = append(b, '.')
	for range -min(whole, 0) {
		b = append(b, '0')
	}
	return append(b, digits[max(whole, 0):]...)
}

// maxDepth is how deeply tables and arrays are written. The client reads none deeper than 32.
const maxDepth = 40

// appendJSON writes a value as JSON. encoding/json alone would not do: it writes bytes as
// base64, and fails for infinities and for years beyond 9999.
func appendJSON(b []byte, value any, depth int) []byte {
	if depth > maxDepth {
		return append(b, "null"...)
	}
	switch v := value.(type) {
	case nil:
		return append(b, "null"...)
	case amqp.Table:
		b = append(b, '{')
		for i, name := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendQuoted(b, name), ':')
			b = appendJSON(b, v[name], depth+1)
		}
		return append(b, '}')
	case []any:
		b = append(b, '[')
		for i, x := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, x, depth+1)
		}
		return append(b, ']')
	case string:
		return appendQuoted(b, v)
	case []byte:
		return appendQuoted(b, string(v))
	case float32:
		return appendFloat(b, float64(v), value)
	case float64:
		return appendFloat(b, v, value)
	case time.Time:
		return appendQuoted(b, string(appendScalar(nil, v)))
	}
	if n := len(b); len(appendScalar(b, value)) > n {
		return appendScalar(b, value)
	}
	return append(b, "null"...)
}

// appendFloat quotes what JSON has no number for.
func appendFloat(b []byte, f float64, value any) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return appendQuoted(b, string(appendScalar(nil, value)))
	}
	return appendScalar(b, value)
}

func appendQuoted(b []byte, s string) []byte {
	q, err := json.Marshal(s)
	if err != nil { // a string always has a JSON form
		return append(b, `""`...)
	}
	return append(b, q...)
}

// wholeNumber returns an integer of any of AMQP's sizes.
func wholeNumber(value any) (int64, bool) {
	switch v := value.(type) {
	case int64:
		return v, true
	case int32:
		return int64(v), true
	case int16:
		return int64(v), true
	case int8:
		return int64(v), true
	case uint32:
		return int64(v), true
	case uint16:
		return int64(v), true
	case uint8:
		return int64(v), true
	case int:
		return int64(v), true
	}
	return 0, false
}

// integer reads a number of ours leniently: clients in other languages write what their
// language calls an integer, and tools that move messages make text of it.
func integer(value any) (int64, bool) {
	if value == nil {
		return 0, false
	}
	if n, ok := wholeNumber(value); ok {
		return n, true
	}
	if s, ok := text(value); ok && len(s) <= 20 {
		n, err := strconv.ParseInt(s, 10, 64)
		return n, err == nil
	}
	return 0, false
}

// text reads a string of ours leniently: some clients write bytes.
func text(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	}
	return "", false
}
