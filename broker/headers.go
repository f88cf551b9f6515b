package broker

import "slices"

// Header is one application header. Value may hold any bytes; a Go string
// keeps them as they are and cannot be changed behind a reader's back.
type Header struct {
	Name  string
	Value string
}

// Headers is an ordered list of headers. Names are compared exactly. A name may
// repeat where the broker allows it (Kafka does); elsewhere the last one is kept,
// or publishing fails with [ErrInvalid]. Get returns the last one.
type Headers []Header

// Get returns the value of the last header called name, or "".
func (h Headers) Get(name string) string {
	v, _ := h.Lookup(name)
	return v
}

// Lookup returns the value of the last header called name and whether there is one.
func (h Headers) Lookup(name string) (string, bool) {
	for _, x := range slices.Backward(h) {
		if x.Name == name {
			return x.Value, true
		}
	}
	return "", false
}

// Add appends a header, keeping others of the same name.
func (h *Headers) Add(name, value string) {
	*h = append(*h, Header{Name: name, Value: value})
}

// Set gives name exactly one value, at the place of its first occurrence.
func (h *Headers) Set(name, value string) {
	i := slices.IndexFunc(*h, func(x Header) bool { return x.Name == name })
	if i < 0 {
		h.Add(name, value)
		return
	}
	(*h)[i].Value = value
	tail := slices.DeleteFunc((*h)[i+1:], func(x Header) bool { return x.Name == name })
	*h = (*h)[:i+1+len(tail)]
}

// Del removes every header called name.
func (h *Headers) Del(name string) {
	*h = slices.DeleteFunc(*h, func(x Header) bool { return x.Name == name })
}

// Clone returns a copy that shares nothing with h.
func (h Headers) Clone() Headers { return slices.Clone(h) }
