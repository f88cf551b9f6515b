package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"slices"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// maxLine is the longest line of an input file.
const maxLine = 1 << 20

// input reads refund requests from JSON lines. A line is published byte for byte
// as a message's body; what is not a request becomes a dead letter, as it would in
// production, and is reported with its line. A line that stands in the file twice
// is one message that is published twice.
type input struct {
	desk
	name   string
	from   io.Reader
	report func(line int, class failure.Class, reason error) // told of lines that will be dead letters
}

// line is what is read from a line before it is published. Any value may stand
// there, so that a line with a wrong one is published too.
type line struct {
	Order any `json:"order"`
	// SchemaVersion is the message's; default 1.
	SchemaVersion any `json:"schema_version"`
	// OrderStatus is the order's in the shop's table when its first request is
	// read: "cancelled", or anything else for one that can be refunded.
	OrderStatus any `json:"order_status"`
}

func (in *input) batches() iter.Seq2[[]*broker.Message, error] {
	return func(yield func([]*broker.Message, error) bool) {
		seen := map[uint64]int{} // account by the hash of the line
		seed := maphash.MakeSeed()
		lines := bufio.NewScanner(in.from)
		lines.Buffer(make([]byte, 64<<10), maxLine)
		var batch []*broker.Message
		n, requests := 0, 0
		for lines.Scan() {
			n++
			text := bytes.TrimSpace(lines.Bytes())
			if len(text) == 0 {
				continue
			}
			requests++
			batch = append(batch, in.message(n, slices.Clone(text), seen, maphash.Bytes(seed, text)))
			if len(batch) < batchOrders*len(requesters) {
				continue
			}
			if !yield(batch, nil) {
				return
			}
			batch = nil
		}
		switch err := lines.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			yield(batch, usageError{fmt.Errorf("%s:%d: the line is longer than %d bytes; one request per line is wanted", in.name, n+1, maxLine)})
		case err != nil:
			yield(batch, usageError{fmt.Errorf("%s:%d: %w", in.name, n+1, err)})
		case requests == 0:
			yield(nil, usageError{fmt.Errorf("%s holds no refund request; one per line is wanted, as in sample.jsonl", in.name)})
		case len(batch) > 0:
			yield(batch, nil)
		}
	}
}

// message makes the message of a line.
func (in *input) message(number int, text []byte, seen map[uint64]int, hash uint64) *broker.Message {
	version, order, expect, err := in.foresee(text)
	n, again := seen[hash]
	if again {
		in.accounts.again(n)
	} else {
		n = in.accounts.open(expect)
		seen[hash] = n
	}
	if err != nil {
		in.report(number, expect, err)
	}
	return in.desk.message(n, order, version, text)
}

// foresee reads a line, enters its order, and says what must become of the
// message: the class of its dead letter with the reason, or "" and nil when it
// will be answered.
func (in *input) foresee(text []byte) (version int, order string, expect failure.Class, reason error) {
	var l line
	_ = json.Unmarshal(text, &l) // what is wrong is found again below
	order, _ = l.Order.(string)
	version = versionOf(l.SchemaVersion)

	r, err := decode(version, text)
	if err != nil {
		return version, order, failure.ClassFormat, err
	}
	order = r.Order
	if order != "" {
		in.orders.add(order, l.OrderStatus == "cancelled", false)
	}
	if r.Order != "" && r.Amount == price && r.Requester == "loyalty" && r.PointsPer == 0 {
		return version, order, failure.ClassBug, errors.New("points_per is 0, and the handler panics")
	}
	if err := r.check(); err != nil {
		return version, order, failure.ClassData, err
	}
	if o, _ := in.orders.get(order); o.cancelled {
		return version, order, failure.ClassData, fmt.Errorf("order %s is cancelled", order)
	}
	in.orders.add(order, false, true)
	return version, order, "", nil
}

// versionOf reads the schema version of a line; one that is none becomes 0, which
// no schema has.
func versionOf(v any) int {
	switch v := v.(type) {
	case nil:
		return 1
	case float64:
		if n := int(v); n > 0 && float64(n) == v {
			return n
		}
	}
	return 0
}
