package rabbit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// sacQueue is a model of a queue with a single active consumer: what is given
// back is delivered again before what is still waiting, in its order, and some of
// what was delivered is still on its way.
type sacQueue struct {
	ready    []int
	returned []int
	wire     []*leased
	keys     int
	tag      uint64
}

func (q *sacQueue) push(n int) {
	for range n {
		from, redelivered := &q.ready, false
		if len(q.returned) > 0 {
			from, redelivered = &q.returned, true
		}
		if len(*from) == 0 {
			return
		}
		m := (*from)[0]
		*from = (*from)[1:]
		q.tag++
		q.wire = append(q.wire, &leased{at: q.tag, native: amqp.Delivery{
			MessageId: fmt.Sprint(m), Redelivered: redelivered,
			Headers: amqp.Table{headerKey: fmt.Sprint("key ", m%q.keys)},
		}})
	}
}

// Whatever is given back, whenever and however much is on its way meanwhile, each
// key is received in order.
func TestGatesKeepTheOrderOfKeys(t *testing.T) {
	t.Parallel()
	const messages, keys = 24, 4
	for seed := range uint64(5000) {
		random := rand.New(rand.NewPCG(seed, 11))
		q := &sacQueue{keys: keys}
		for m := range messages {
			q.ready = append(q.ready, m)
		}
		g := make(gates)
		var buffer []*leased
		held := make(map[int][]*leased) // by key, received and not settled, in order
		done := make([]int, keys)       // by key, how many are settled for good
		settled := 0
		for step := 0; settled < messages; step++ {
			if step > 5000 {
				t.Fatalf("seed %d: stands still with %d of %d settled; gates %v", seed, settled, messages, g)
			}
			switch random.IntN(4) {
			case 0:
				q.push(random.IntN(6))
			case 1: // what is on its way arrives
				n := random.IntN(len(q.wire) + 1)
				for _, l := range q.wire[:n] {
					buffer = g.pass(buffer, l)
				}
				q.wire = q.wire[n:]
			case 2: // receive
				n := random.IntN(len(buffer) + 1)
				for _, l := range buffer[:n] {
					var m int
					_, _ = fmt.Sscan(l.native.MessageId, &m)
					k := m % keys
					if want := k + keys*(done[k]+len(held[k])); m != want {
						t.Fatalf("seed %d: key %d: message %d was received, %d is next", seed, k, m, want)
					}
					held[k] = append(held[k], l)
				}
				buffer = slices.Clone(buffer[n:])
			case 3: // settle a key: its head is done, or all of it goes back
				k := random.IntN(keys)
				if len(held[k]) == 0 {
					continue
				}
				if random.IntN(2) == 0 {
					done[k]++
					settled++
					held[k] = held[k][1:]
					continue
				}
				// A run of the key goes back, in one call or several, in any order, and each
				// of it stays here or goes round through the broker.
				from := random.IntN(len(held[k]))
				back := slices.Clone(held[k][from:])
				held[k] = held[k][:from]
				if random.IntN(2) == 0 {
					random.Shuffle(len(back), func(i, j int) { back[i], back[j] = back[j], back[i] })
				}
				for len(back) > 0 {
					n := 1 + random.IntN(len(back))
					call := back[:n]
					back = back[n:]
					if random.IntN(2) == 0 {
						for _, l := range call {
							buffer = g.keep(buffer, l)
						}
						continue
					}
					buffer = g.give(buffer, call)
					for _, l := range call {
						var m int
						_, _ = fmt.Sscan(l.native.MessageId, &m)
						q.returned = append(q.returned, m)
					}
				}
			}
		}
		if len(g) > 0 {
			t.Fatalf("seed %d: %d gates are left", seed, len(g))
		}
	}
}

// A message that never comes again (dead-lettered by the server, purged) does not
// hold up its key for ever.
func TestGateOpensWhenNothingComes(t *testing.T) {
	g := make(gates)
	l := func(at uint64, id string) *leased {
		return &leased{at: at, native: amqp.Delivery{MessageId: id, Headers: amqp.Table{headerKey: "k"}}}
	}
	if rest := g.give([]*leased{l(2, "2")}, []*leased{l(1, "1")}); len(rest) != 0 {
		t.Fatalf("%d messages overtake what was given back", len(rest))
	}
	if out := g.expire(nil); len(out) != 0 {
		t.Fatalf("%d messages overtake before the time is over", len(out))
	}
	g["k"].since = g["k"].since.Add(-2 * gateFor)
	if out := g.expire(nil); len(out) != 1 || out[0].native.MessageId != "2" || len(g) != 0 {
		t.Errorf("after the time is over %v go on and %d gates are left", out, len(g))
	}
}
