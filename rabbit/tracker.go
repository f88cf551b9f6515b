package rabbit

// tracker knows which delivery tags of a channel are settled, so that one frame
// acknowledges as many as possible.
//
// A channel numbers its deliveries 1, 2, 3, ... An acknowledgement with
// `multiple` covers every lower tag that is still open, so it may name only a
// tag below which everything is settled; and that tag must itself be open at the
// broker, or the broker takes it for an unknown one and closes the channel
// (having acknowledged everything below, whatever it is). Both rules are this
// type's.
type tracker struct {
	base    uint64 // the lowest tag that is not settled; 0 stands for 1
	settled []bool // of the tags from base on: settled at the broker
}

// ack settles tags, and returns how to tell the broker: all up to through, if it
// is not 0, with multiple, and then the rest one by one. It uses the memory of
// tags.
func (t *tracker) ack(tags []uint64) (through uint64, rest []uint64) {
	for _, tag := range tags {
		t.settle(tag)
	}
	t.advance()
	rest = tags[:0]
	for _, tag := range tags {
		if tag < t.base {
			through = max(through, tag)
		} else {
			rest = append(rest, tag)
		}
	}
	return through, rest
}

// nack settles a tag that is given back.
func (t *tracker) nack(tag uint64) {
	t.settle(tag)
	t.advance()
}

// settle marks a tag. A lease is settled once; a tag below base was.
func (t *tracker) settle(tag uint64) {
	t.base = max(t.base, 1)
	if tag < t.base {
		return
	}
	i := int(tag - t.base)
	for len(t.settled) <= i {
		t.settled = append(t.settled, false)
	}
	t.settled[i] = true
}

// advance moves base past everything that is settled.
func (t *tracker) advance() {
	n := 0
	for n < len(t.settled) && t.settled[n] {
		n++
	}
	if n == 0 {
		return
	}
	t.base += uint64(n)
	t.settled = t.settled[:copy(t.settled, t.settled[n:])]
}
