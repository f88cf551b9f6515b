package memory

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Whatever is pushed, given another key and removed from anywhere, a heap gives
// out what is left in the order of keys, and every value knows its place.
func TestHeapKeepsItsOrder(t *testing.T) {
	type value struct {
		key   int64
		index int
	}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		h := heap[value]{moved: func(v *value, i int) { v.index = i }}
		var all []*value
		for range r.IntN(300) {
			switch {
			case len(all) == 0 || r.IntN(2) == 0:
				v := &value{key: r.Int64N(50)}
				all = append(all, v)
				h.push(v.key, v)
			case r.IntN(2) == 0:
				v := all[r.IntN(len(all))]
				v.key = r.Int64N(50)
				h.rekey(v.index, v.key)
			default:
				i := r.IntN(len(all))
				h.remove(all[i].index)
				all = slices.Delete(all, i, i+1)
			}
			for i, it := range h.items {
				if it.v.index != i || it.key != it.v.key {
					t.Fatalf("seed %d: the value at %d with key %d believes to be at %d with key %d", seed, i, it.key, it.v.index, it.v.key)
				}
			}
		}
		last := int64(-1)
		for n := len(all); n > 0; n-- {
			key, v, ok := h.min()
			if got := h.pop(); !ok || got != v || key < last {
				t.Fatalf("seed %d: key %d after %d", seed, key, last)
			}
			last = key
		}
		if _, _, ok := h.min(); ok {
			t.Fatalf("seed %d: something is left", seed)
		}
	}
}
