package main

import "sync"

// orderBook is the shop's table of orders. In production it is a table in a
// database, and refundedBy is set with UPDATE ... WHERE refunded_by IS NULL.
type orderBook struct {
	mu     sync.Mutex
	orders map[string]*order
}

// order is one row.
type order struct {
	cancelled  bool
	refundedBy string // ID of the request that was paid; "" for none

	// refundable is no column: it says what the job expects of the order, for the
	// verification at the end.
	refundable bool
}

func newOrderBook() *orderBook { return &orderBook{orders: map[string]*order{}} }

// add makes the order unless it exists. refundable says that a request is under
// way that will be paid unless another is first.
func (b *orderBook) add(id string, cancelled, refundable bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.orders[id]
	if o == nil {
		o = &order{cancelled: cancelled}
		b.orders[id] = o
	}
	o.refundable = o.refundable || refundable
}

// get returns the order as it is now, false when there is none.
func (b *orderBook) get(id string) (order, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.orders[id]
	if o == nil {
		return order{}, false
	}
	return *o, true
}

// markRefunded records who was paid, unless somebody was before, and returns who
// it is.
func (b *orderBook) markRefunded(id, by string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.orders[id]
	if o.refundedBy == "" {
		o.refundedBy = by
	}
	return o.refundedBy
}

func (b *orderBook) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.orders)
}

// each calls f for every order. Only for when the job has ended.
func (b *orderBook) each(f func(id string, o order)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, o := range b.orders {
		f(id, *o)
	}
}
