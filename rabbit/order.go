package rabbit

import (
	"slices"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
)

// An application's headers are an ordered list in which names may repeat; an AMQP table
// has neither order nor repetition, and the server reads some names itself. So:
//
//   - Each header is an entry of the table, with a string as its value, where other
//     tools, headers exchanges and tracers look for it.
//   - Headers that are not in the order of their names have that order in headerOrder:
//     names with commas between them.
//   - Headers with names that repeat, that AMQP cannot carry or that mean something to
//     the server are all in headerList, an array of names and values in turn. A value
//     that the table has is void there.
//
// What the table has and neither of them lists comes last, by name: somebody added it on
// the way, or published the message without us.

// encodeHeaders adds an application's headers to the table.
func encodeHeaders(headers broker.Headers, table amqp.Table) {
	sorted, listed := true, false
	for i, h := range headers {
		if !plainName(h.Name) {
			listed = true
			continue
		}
		if _, again := table[h.Name]; again {
			listed = true
		}
		table[h.Name] = h.Value // of repeated names the last counts, as in Headers.Get
		sorted = sorted && (i == 0 || headers[i-1].Name < h.Name)
	}
	switch {
	case listed:
		table[headerList] = listOf(headers)
	case !sorted:
		table[headerOrder] = orderOf(headers)
	}
}

// plainName says whether a header of this name can be an entry of the table.
func plainName(name string) bool {
	return name != "" && len(name) <= maxShort && name != carbonCopy && name != blindCarbonCopy && applications(name)
}

func listOf(headers broker.Headers) []any {
	list := make([]any, 0, 2*len(headers))
	last := make(map[string]int, len(headers))
	for i, h := range headers {
		last[h.Name] = i
	}
	for i, h := range headers {
		var value any = h.Value
		if plainName(h.Name) && last[h.Name] == i {
			value = nil
		}
		list = append(list, h.Name, value)
	}
	return list
}

// The comma separates names, so that it is escaped in them, and the sign that escapes.
var (
	escapeName   = strings.NewReplacer("%", "%25", ",", "%2C")
	unescapeName = strings.NewReplacer("%25", "%", "%2C", ",")
)

func orderOf(headers broker.Headers) string {
	n := 0
	for _, h := range headers {
		n += len(h.Name) + 1
	}
	var b strings.Builder
	b.Grow(n)
	for i, h := range headers {
		if i > 0 {
			b.WriteByte(',')
		}
		if strings.ContainsAny(h.Name, "%,") {
			b.WriteString(escapeName.Replace(h.Name))
		} else {
			b.WriteString(h.Name)
		}
	}
	return b.String()
}

// decodeHeaders reads an application's headers from a table, ours or anybody's. It has n
// entries that are visible to the application; order and list are headers of ours.
func decodeHeaders(table amqp.Table, n int, order, list any) broker.Headers {
	listed, _ := list.([]any)
	if n == 0 && len(listed) < 2 {
		return nil
	}
	r := headerReader{table: table, out: make(broker.Headers, 0, n+len(listed)/2)}
	switch names, _ := text(order); {
	case listed != nil:
		r.list(listed)
	case names != "":
		r.order(names)
	}
	if r.taken.len() < n {
		r.rest()
	}
	return r.out
}

// headerReader collects the headers of one table.
type headerReader struct {
	table amqp.Table
	out   broker.Headers
	taken nameSet // entries of the table that are in out
}

// entry takes the table's entry of that name, once.
func (r *headerReader) entry(name string) {
	value, ok := r.table[name]
	if ok && applications(name) && r.taken.add(name) {
		r.out = append(r.out, broker.Header{Name: name, Value: textOf(value)})
	}
}

func (r *headerReader) order(names string) {
	for more := true; more; {
		var name string
		name, names, more = strings.Cut(names, ",")
		if strings.Contains(name, "%") {
			name = unescapeName.Replace(name)
		}
		r.entry(name)
	}
}

func (r *headerReader) list(list []any) {
	for i := 0; i+1 < len(list); i += 2 {
		name, ok := text(list[i])
		if !ok {
			continue
		}
		if list[i+1] == nil {
			r.entry(name)
		} else {
			r.out = append(r.out, broker.Header{Name: name, Value: textOf(list[i+1])})
		}
	}
}

// rest takes what nothing lists, by name.
func (r *headerReader) rest() {
	first := len(r.out)
	for name, value := range r.table {
		if seen, ok := visible(r.table, name); ok && !r.taken.has(name) {
			r.out = append(r.out, broker.Header{Name: seen, Value: textOf(value)})
		}
	}
	if rest := r.out[first:]; len(rest) > 1 {
		slices.SortFunc(rest, func(a, b broker.Header) int { return strings.Compare(a.Name, b.Name) })
	}
}

// nameSet is a set of names that allocates nothing while it is small.
type nameSet struct {
	few  [16]string
	n    int
	many map[string]struct{}
}

func (s *nameSet) len() int { return s.n + len(s.many) }

func (s *nameSet) has(name string) bool {
	if slices.Contains(s.few[:s.n], name) {
		return true
	}
	_, ok := s.many[name]
	return ok
}

// add says whether the name is new.
func (s *nameSet) add(name string) bool {
	if s.has(name) {
		return false
	}
	if s.n < len(s.few) {
		s.few[s.n] = name
		s.n++
		return true
	}
	if s.many == nil {
		s.many = make(map[string]struct{})
	}
	s.many[name] = struct{}{}
	return true
}
