package rabbit

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
)

// Other tools, headers exchanges and tracers find an application's header under its name.
func TestHeadersAreEntriesOfTheTableAndOrderCostsOneMore(t *testing.T) {
	for _, c := range []struct {
		names   string
		ofOurs  string
		entries int
	}{
		{names: "a", entries: 1},
		{names: "a b c", entries: 3},
		{names: "b a c", ofOurs: headerOrder, entries: 4},
		{names: "a CC b", ofOurs: headerList, entries: 3},
		{names: "a b a", ofOurs: headerList, entries: 3},
		{names: "anyqueue-attempt", ofOurs: headerList, entries: 1},
	} {
		m := &broker.Message{ID: "id", PublishedAt: time.Unix(1700000000, 0)}
		for i, name := range strings.Fields(c.names) {
			m.Headers.Add(name, fmt.Sprint(i))
		}
		p := mustEncode(t, m)
		if len(p.Headers) != c.entries {
			t.Errorf("%s: the table is %v, want %d entries", c.names, p.Headers, c.entries)
		}
		if _, ok := p.Headers[c.ofOurs]; c.ofOurs != "" && !ok {
			t.Errorf("%s: the table is %v, want %s in it", c.names, p.Headers, c.ofOurs)
		}
		for _, h := range m.Headers {
			if plainName(h.Name) && p.Headers[h.Name] != m.Headers.Get(h.Name) {
				t.Errorf("%s: entry %q is %v, want %q, the last of that name", c.names, h.Name, p.Headers[h.Name], m.Headers.Get(h.Name))
			}
		}
		if _, ok := p.Headers["CC"]; ok || p.Headers[headerAttempt] != nil {
			t.Errorf("%s: the table is %v: an application's header must not steer the server or the adapter", c.names, p.Headers)
		}
		got, f := received(arrived(t, p))
		wantMessage(t, got, m)
		if f.attempt != 1 {
			t.Errorf("%s: attempt is %d, want 1", c.names, f.attempt)
		}
	}
}

// Somebody on the way may add, change and remove headers. Nothing is lost or made up
// then, and the rest keeps its order.
func TestHeadersChangedOnTheWayAreReadAsTheyAre(t *testing.T) {
	for _, special := range []string{"plain", "CC"} { // an order, a list
		m := &broker.Message{ID: "id", Headers: broker.Headers{{Name: "z", Value: "1"}, {Name: special, Value: "s"}, {Name: "m", Value: "2"}, {Name: "a", Value: "3"}}}
		d := arrived(t, mustEncode(t, m))
		delete(d.Headers, "m")
		d.Headers["a"] = int32(33)
		d.Headers["y"], d.Headers["b"] = "new", "new"
		got, _ := received(d)
		want := broker.Headers{{Name: "z", Value: "1"}, {Name: special, Value: "s"}, {Name: "a", Value: "33"}, {Name: "b", Value: "new"}, {Name: "y", Value: "new"}}
		if !slices.Equal(got.Headers, want) {
			t.Errorf("headers are %q, want %q", got.Headers, want)
		}
	}
}

// An order that repeats itself cannot multiply a message.
func TestAnOrderTakesEachHeaderOnce(t *testing.T) {
	table := amqp.Table{headerOrder: strings.Repeat("h000,h001,", 9000)}
	var list []any
	for i := range 3000 {
		name := fmt.Sprintf("h%03d", i)
		table[name] = "v"
		list = append(list, name, nil, "h000", nil)
	}
	start := time.Now()
	got, _ := received(&amqp.Delivery{Headers: table})
	if len(got.Headers) != 3000 {
		t.Fatalf("%d headers, want 3000", len(got.Headers))
	}
	table[headerList] = list
	if got, _ = received(&amqp.Delivery{Headers: table}); len(got.Headers) != 3000 {
		t.Fatalf("%d headers, want 3000", len(got.Headers))
	}
	if spent := time.Since(start); spent > 2*time.Second {
		t.Fatalf("reading took %v: it grows with the square of the headers", spent)
	}
}
