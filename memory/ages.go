package memory

// ages finds the message that was first published longest ago. Most messages
// arrive in the order of their publication: a list keeps those, and adding and
// removing cost nothing. The others, old ones published again and those of
// clocks that differ, are in a heap.
type ages struct {
	oldest, youngest *entry
	late             heap[entry] // by publication
}

// place is an entry's place in ages.
type place struct {
	published      instant
	older, younger *entry
	index          int // in ages.late; -1: in the list
}

func (a *ages) init() {
	a.late.moved = func(e *entry, i int) { e.age.index = i }
}

// add adds e, which was first published at that time.
func (a *ages) add(e *entry, at instant) {
	if a.youngest != nil && at < a.youngest.age.published {
		e.age = place{published: at}
		a.late.push(int64(at), e)
		return
	}
	e.age = place{published: at, older: a.youngest, index: -1}
	if a.youngest == nil {
		a.oldest = e
	} else {
		a.youngest.age.younger = e
	}
	a.youngest = e
}

func (a *ages) remove(e *entry) {
	p := e.age
	if p.index >= 0 {
		a.late.remove(p.index)
		return
	}
	if p.older == nil {
		a.oldest = p.younger
	} else {
		p.older.age.younger = p.younger
	}
	if p.younger == nil {
		a.youngest = p.older
	} else {
		p.younger.age.older = p.older
	}
	e.age = place{}
}

// first returns the oldest message, nil when there is none.
func (a *ages) first() *entry {
	at, e, ok := a.late.min()
	if a.oldest != nil && (!ok || a.oldest.age.published <= instant(at)) {
		return a.oldest
	}
	return e
}
