package telemetry

import (
	"maps"
	"sync"
	"sync/atomic"
)

// bounded keeps what was made for a key: the prebuilt options of a series. A
// metric must not grow without bound because an attribute turned out to have
// more values than thought, so beyond limit keys it uses the key that collapse
// returns; of those there must be few. Reading takes no lock.
type bounded[K comparable, V any] struct {
	limit    int
	build    func(K) V
	collapse func(K) K

	mu    sync.Mutex // for writers; build is never called under it
	known atomic.Pointer[map[K]V]
}

func newBounded[K comparable, V any](limit int, build func(K) V, collapse func(K) K) *bounded[K, V] {
	b := &bounded[K, V]{limit: limit, build: build, collapse: collapse}
	b.known.Store(&map[K]V{})
	return b
}

func (b *bounded[K, V]) get(key K) V {
	if v, ok := (*b.known.Load())[key]; ok {
		return v
	}
	return b.add(key)
}

func (b *bounded[K, V]) add(key K) V {
	rest := b.collapse(key)
	if key != rest && len(*b.known.Load()) >= b.limit {
		return b.get(rest)
	}
	v := b.build(key)
	b.mu.Lock()
	known := *b.known.Load()
	old, ok := known[key]
	if ok || key != rest && len(known) >= b.limit { // others were faster
		b.mu.Unlock()
		if ok {
			return old
		}
		return b.get(rest)
	}
	known = maps.Clone(known)
	known[key] = v
	b.known.Store(&known)
	b.mu.Unlock()
	return v
}
