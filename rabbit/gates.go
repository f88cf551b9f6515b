package rabbit

import (
	"cmp"
	"slices"
	"time"
)

// gates keep the order of keys where messages are given back on a queue with a
// single active consumer. What goes back by nack is delivered again at once,
// before anything else that is still in the queue; but what the broker had pushed
// in the meantime is on the way already, and would overtake. So the messages of
// that key stand in line by their place in the queue, and nobody goes on before
// those in front of him have come again.
//
// A nil gates lets everything pass.
type gates map[string]*gate

type gate struct {
	line  []place // by at
	since time.Time
}

// place is one message in a line.
type place struct {
	at uint64 // see leased.at
	id string
	l  *leased // nil until it has come again
}

// gateFor bounds the waiting: the broker may have dead-lettered what was given
// back, or somebody has purged the queue.
const gateFor = 5 * time.Second

// give is called before deliveries go back by nack. What of their keys is in the
// buffer stands in line with them. It returns the new buffer.
func (g gates) give(buffer, back []*leased) []*leased {
	var given []*gate
	for _, l := range back {
		key := keyOf(&l.native)
		if key == "" {
			continue
		}
		if g[key] == nil {
			g[key] = &gate{}
		}
		g[key].since = time.Now()
		g[key].enter(place{at: l.at, id: l.native.MessageId})
		given = append(given, g[key])
	}
	buffer = slices.DeleteFunc(buffer, func(l *leased) bool {
		at := g[keyOf(&l.native)]
		if at == nil {
			return false
		}
		at.enter(place{l.at, l.native.MessageId, l})
		return true
	})
	for _, at := range given {
		buffer = at.open(buffer)
	}
	return buffer
}

// keep puts a delivery that was given back here into the buffer, or in line.
func (g gates) keep(buffer []*leased, l *leased) []*leased {
	key := keyOf(&l.native)
	if at := g[key]; at != nil {
		at.enter(place{l.at, l.native.MessageId, l})
		return g.opened(buffer, key)
	}
	return insert(buffer, l, key)
}

// insert puts a delivery into the buffer, behind those of its key that were in
// front of it.
func insert(buffer []*leased, l *leased, key string) []*leased {
	i := 0
	for j, other := range buffer {
		if other.at < l.at && keyOf(&other.native) == key {
			i = j + 1
		}
	}
	return slices.Insert(buffer, i, l)
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
		at.enter(place{l.at, l.native.MessageId, l})
	} else {
		l.at, at.line[i].l = at.line[i].at, l
	}
	return g.opened(buffer, key)
}

// opened lets go on whoever may, and takes the gate away when nobody is left.
func (g gates) opened(buffer []*leased, key string) []*leased {
	buffer = g[key].open(buffer)
	if len(g[key].line) == 0 {
		delete(g, key)
	}
	return buffer
}

// enter takes a place in the line.
func (at *gate) enter(p place) {
	i, _ := slices.BinarySearchFunc(at.line, p, func(a, b place) int { return cmp.Compare(a.at, b.at) })
	at.line = slices.Insert(at.line, i, p)
}

// open lets go on those in front who have come.
func (at *gate) open(buffer []*leased) []*leased {
	n := 0
	for n < len(at.line) && at.line[n].l != nil {
		l := at.line[n].l
		buffer = insert(buffer, l, keyOf(&l.native))
		n++
	}
	at.line = at.line[n:]
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
				buffer = insert(buffer, p.l, key)
			}
		}
		delete(g, key)
	}
	return buffer
}
