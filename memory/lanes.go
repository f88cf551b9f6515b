package memory

import "maps"

// lanes keeps the order of keys. The messages of a key form a chain through
// entry.behind. Only its head is ready, delayed or leased; all others wait. So
// nothing of a key is delivered while an earlier message of it is leased or
// delayed, and a key costs one entry in one map, however long its chain is.
type lanes struct {
	tails map[string]*entry // the last message of each key
	peak  int               // the most keys since tails was made
}

// join puts e at the end of its key's chain and reports whether it is the head.
func (l *lanes) join(e *entry) bool {
	if l.tails == nil {
		l.tails = make(map[string]*entry)
	}
	tail := l.tails[e.msg.Key]
	l.tails[e.msg.Key] = e
	l.peak = max(l.peak, len(l.tails))
	if tail == nil {
		return true
	}
	tail.behind = e
	return false
}

// leave takes the head e off its chain and returns the new head, nil if there is
// none.
func (l *lanes) leave(e *entry) *entry {
	next := e.behind
	e.behind = nil
	if next != nil {
		return next
	}
	delete(l.tails, e.msg.Key)
	if l.peak > shrinkAbove && len(l.tails) < l.peak/4 { // a map never shrinks by itself
		tails := make(map[string]*entry, len(l.tails))
		maps.Copy(tails, l.tails)
		l.tails, l.peak = tails, len(tails)
	}
	return nil
}
