package rabbit

import (
	"slices"
	"time"
)

// gates keep the order of keys where a message is given back by nack on a queue
// with a single active consumer. The broker delivers it again at once, before
// anything else that is still in the queue; but what it had pushed in the
// meantime is on the way already, and would overtake. So the messages of that
// key stand in line, those that were given back at their places, and nobody goes
// on before those in front of him have come again.
//
// A nil gates lets everything pass.
type gates map[string]*gate

type gate struct {
	line  []place
	since time.Time
}

// place is one message in a line.
type place struct {
	id string
	l  *leased // nil until it has come again
}

// gateFor bounds the waiting: the broker may have dead-lettered what was given
// back, or somebody has purged the queue.
const gateFor = 5 * time.Second

// give is called before deliveries go back, in their order. What of their keys is
// in the buffer stands behind them. It returns the new buffer.
func (g gates) give(buffer, back []*leased) []*leased {
	fronts := make(map[string][]place)
	for _, l := range back {
		if key := keyOf(&l.native); key != "" {
			fronts[key] = append(fronts[key], place{id: l.native.MessageId})
		}
	}
	buffer = slices.DeleteFunc(buffer, func(l *leased) bool {
		key := keyOf(&l.native)
		front, given := fronts[key]
		if given {
			fronts[key] = append(front, place{l.native.MessageId, l})
		}
		return given
	})
	for key, front := range fronts {
		if g[key] == nil {
			g[key] = &gate{}
		}
		g[key].line = append(front, g[key].line...)
		g[key].since = time.Now()
	}
	return buffer
}

// pass appends to the buffer what may go on now that a delivery has come.
func (g gates) pass(buffer []*leased, l *leased) []*leased {
	if len(g) == 0 {
		return append(buffer, l)
	}
	key := keyOf(&l.native)
	at := g[key]
	if at == nil {
		return append(buffer, l)
	}
	i := -1
	if l.native.Redelivered {
		i = slices.IndexFunc(at.line, func(p place) bool { return p.l == nil && p.id == l.native.MessageId })
	}
	if i < 0 {
		at.line = append(at.line, place{l.native.MessageId, l})
	} else {
		at.line[i].l = l
	}
	for len(at.line) > 0 && at.line[0].l != nil {
		buffer = append(buffer, at.line[0].l)
		at.line = at.line[1:]
	}
	if len(at.line) == 0 {
		delete(g, key)
	}
	return buffer
}

// expire lets go on what has waited too long for others.
func (g gates) expire(buffer []*leased) []*leased {
	for key, at := range g {
		if time.Since(at.since) <= gateFor {
			continue
		}
		for _, p := range at.line {
			if p.l != nil {
				buffer = append(buffer, p.l)
			}
		}
		delete(g, key)
	}
	return buffer
}
