package brokertest

import (
	"bytes"
	"fmt"

	"github.com/anyqueue/anyqueue/broker"
)

var creditCases = []testCase{
	{name: "ReceiveReturnsAtMostCreditMessages", promise: backpressure, run: creditMessages},
	{name: "ReceiveReturnsAtMostCreditBytes", promise: backpressure, run: creditBytes},
	{name: "TheFirstMessageMayExceedCreditBytes", promise: noSilentLoss, run: creditFirstMessage},
}

// Never more messages than asked for, and what was not asked for stays to be
// had.
func creditMessages(e *env) {
	q := e.queue()
	a := q.consumer()
	const n = 7
	q.publish(numbered(n)...)
	for have := 0; have < n; {
		p := a.start(e.h.Patience, broker.Credit{Messages: 3, Bytes: plenty})
		gots, err := p.result()
		if err != nil {
			e.Fatalf("Receive after %d of %d messages: %v", have, n, err)
		}
		if len(gots) > 3 {
			e.Errorf("Receive returned %d messages for a credit of 3%s", len(gots), bodies(gots))
		}
		have += len(gots)
		ackAll(gots)
	}
	q.empty()
}

// Never more bytes than asked for, unless the first message alone is more.
func creditBytes(e *env) {
	e.needs(!e.h.CoarseBytes, "an adapter that can stop within a broker's response: Harness.CoarseBytes is true")
	q := e.queue()
	a := q.consumer()
	const n = 7
	for i := range n {
		q.publish(plain(fmt.Sprintf("%d %s", i, bytes.Repeat([]byte("x"), 1000))))
	}
	for have := 0; have < n; {
		const most = 2500 // two messages with their IDs
		p := a.start(e.h.Patience, broker.Credit{Messages: 10, Bytes: most})
		gots, err := p.result()
		if err != nil {
			e.Fatalf("Receive after %d of %d messages: %v", have, n, err)
		}
		size := 0
		for _, g := range gots {
			size += g.Size()
		}
		if size > most && len(gots) > 1 {
			e.Errorf("Receive returned %d messages of %d bytes together for a credit of %d bytes", len(gots), size, most)
		}
		have += len(gots)
		ackAll(gots)
	}
	q.empty()
}

// A message larger than the credit is delivered all the same: a small credit
// delays nothing for ever.
func creditFirstMessage(e *env) {
	q := e.queue()
	a := q.consumer()
	large := string(bytes.Repeat([]byte("x"), 5000))
	q.publish(plain(large))
	for range 2 {
		p := a.start(e.h.Patience, broker.Credit{Messages: 10, Bytes: 1})
		gots, err := p.result()
		if err != nil {
			e.Fatalf("Receive with a credit of 1 byte: %v", err)
		}
		e.sameBodies("Receive with a credit of 1 byte", gots, large)
		gots[0].release(0)
	}
	a.one().ack()
}
