package idempotency

import (
	"container/heap"
	"time"
)

// entry is one record of the in-memory store.
type entry struct {
	claim  Claim
	result string
	done   bool
	// until ends the lease or the retention; forget is when the record goes. Both
	// count from the store's start.
	until, forget time.Duration
	index         int // in its expiry queue
}

// live says whether the record binds others: a claim in its lease, a completion
// in its retention.
func (e *entry) live(now time.Duration) bool { return now < e.until }

// expiry is a heap of records, the first to be forgotten on top.
type expiry []*entry

func (q expiry) Len() int           { return len(q) }
func (q expiry) Less(i, j int) bool { return q[i].forget < q[j].forget }

func (q expiry) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push is for package heap.
func (q *expiry) Push(x any) {
	e := x.(*entry)
	e.index = len(*q)
	*q = append(*q, e)
}

// Pop is for package heap.
func (q *expiry) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return e
}

func (q *expiry) add(e *entry)    { heap.Push(q, e) }
func (q *expiry) remove(e *entry) { heap.Remove(q, e.index) }
func (q *expiry) moved(e *entry)  { heap.Fix(q, e.index) }

// expired takes the top record when its time is over.
func (q *expiry) expired(now time.Duration) (*entry, bool) {
	if len(*q) == 0 || now < (*q)[0].forget {
		return nil, false
	}
	return heap.Pop(q).(*entry), true
}
