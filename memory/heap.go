package memory

// heap is a binary min-heap of values with a key of their own at the time of
// pushing: a sequence number or a time. Keys stand beside the pointers, so that
// sifting does not touch the values themselves.
type heap[T any] struct {
	items []item[T]
	// moved, when set, tells a value its new index, which remove needs.
	moved func(v *T, index int)
}

type item[T any] struct {
	key int64
	v   *T
}

// shrinkAbove is the capacity above which the containers of this package give
// memory back when they are three quarters empty.
const shrinkAbove = 1024

func (h *heap[T]) len() int { return len(h.items) }

// min returns the smallest key and its value; ok is false when h is empty.
func (h *heap[T]) min() (key int64, v *T, ok bool) {
	if len(h.items) == 0 {
		return 0, nil, false
	}
	return h.items[0].key, h.items[0].v, true
}

func (h *heap[T]) push(key int64, v *T) {
	h.items = append(h.items, item[T]{key, v})
	h.up(len(h.items) - 1)
}

// pop removes and returns the value with the smallest key. h must not be empty.
func (h *heap[T]) pop() *T {
	v := h.items[0].v
	h.remove(0)
	return v
}

// remove takes out the value at index i.
func (h *heap[T]) remove(i int) {
	last := len(h.items) - 1
	it := h.items[last]
	h.items[last] = item[T]{}
	h.items = h.items[:last]
	if i < last {
		h.items[i] = it
		h.fix(i)
	}
	if c := cap(h.items); c > shrinkAbove && len(h.items) < c/4 {
		h.items = append(make([]item[T], 0, c/2), h.items...)
	}
}

// rekey gives the value at index i another key.
func (h *heap[T]) rekey(i int, key int64) {
	h.items[i].key = key
	h.fix(i)
}

func (h *heap[T]) fix(i int) {
	if !h.down(i) {
		h.up(i)
	}
}

func (h *heap[T]) up(i int) {
	it := h.items[i]
	for i > 0 {
		parent := (i - 1) / 2
		if h.items[parent].key <= it.key {
			break
		}
		h.set(i, h.items[parent])
		i = parent
	}
	h.set(i, it)
}

// down reports whether the value moved.
func (h *heap[T]) down(i int) bool {
	it, start, n := h.items[i], i, len(h.items)
	for {
		child := 2*i + 1
		if child >= n {
			break
		}
		if right := child + 1; right < n && h.items[right].key < h.items[child].key {
			child = right
		}
		if h.items[child].key >= it.key {
			break
		}
		h.set(i, h.items[child])
		i = child
	}
	h.set(i, it)
	return i > start
}

func (h *heap[T]) set(i int, it item[T]) {
	h.items[i] = it
	if h.moved != nil {
		h.moved(it.v, i)
	}
}
