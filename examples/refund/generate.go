package main

import (
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// generated makes the requests of a number of orders. The same seed makes the
// same requests.
type generated struct {
	desk
	count int
	seed  uint64
}

// What is wrong with an order or with one of its requests. Of each hundred orders
// (of all, when there are fewer) one has each fault, except that one single
// request of the whole run makes the handler panic.
type fault int

const (
	cancelled fault = iota
	malformed
	unknownVersion
	panics
	faults // how many there are
)

// twice is the share of requests that are published twice.
const twice = 0.05

// unknownSchema is a version that nobody has deployed yet.
const unknownSchema = schemaVersion + 1

func (g *generated) batches() iter.Seq2[[]*broker.Message, error] {
	return func(yield func([]*broker.Message, error) bool) {
		var batch []*broker.Message
		block := min(max(g.count, int(faults)), 100)
		unlucky := g.seed % uint64(max(g.count/block, 1)) // the block of the request that panics
		var rng *rand.Rand
		var slots []int
		for i := range g.count {
			if i%block == 0 {
				rng = rand.New(rand.NewPCG(g.seed, uint64(i)))
				slots = rng.Perm(block)
			}
			f := fault(slots[i%block])
			if f == panics && uint64(i/block) != unlucky {
				f = faults
			}
			batch = g.order(batch, fmt.Sprintf("S-%06d", i), f, rng)
			if (i+1)%batchOrders != 0 && i+1 != g.count {
				continue
			}
			// All of them ask at the same moment, in whatever order.
			rng.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
			if !yield(batch, nil) {
				return
			}
			batch = nil
		}
	}
}

// order appends the requests for an order, one of which may have a fault.
func (g *generated) order(batch []*broker.Message, id string, f fault, rng *rand.Rand) []*broker.Message {
	g.orders.add(id, f == cancelled, f != cancelled)
	odd := rng.IntN(len(requesters)) // the one with the fault
	if f == panics {
		odd = len(requesters) - 1 // the bug concerns the loyalty scheme
	}
	for i, who := range requesters {
		mine := faults
		if f == cancelled || i == odd {
			mine = f
		}
		version, body, expect := g.request(id, who, mine, rng)
		n := g.accounts.open(expect)
		batch = append(batch, g.message(n, id, version, body))
		if again := rng.Float64() < twice; again && mine != panics {
			g.accounts.again(n)
			batch = append(batch, g.message(n, id, version, body))
		}
	}
	return batch
}

// request makes one request and says what must become of it.
func (g *generated) request(id, who string, f fault, rng *rand.Rand) (version int, body []byte, expect failure.Class) {
	r := request{Order: id, Requester: who, Amount: price, PointsPer: pointsPerV1}
	switch f {
	case malformed:
		return schemaVersion, malformedBody(r, rng), failure.ClassFormat
	case unknownVersion:
		return unknownSchema, encode(r), failure.ClassFormat
	case panics:
		r.PointsPer = 0
		return schemaVersion, encode(r), failure.ClassBug
	case cancelled:
		expect = failure.ClassData
	default:
	}
	if rng.IntN(5) == 0 {
		return 1, encode(requestV1{Order: id, Requester: who, Amount: price}), expect
	}
	return schemaVersion, encode(r), expect
}

// malformedBody is a body that does not decode.
func malformedBody(r request, rng *rand.Rand) []byte {
	whole := encode(r)
	switch rng.IntN(4) {
	case 0:
		return whole[:len(whole)/2] // cut off
	case 1:
		return fmt.Appendf(nil, `{"order":%q,"requester":%q,"amount":"two hundred"}`, r.Order, r.Requester)
	case 2:
		return []byte("\xff\xfe\x00order\x00") // not JSON at all
	default:
		return nil // empty
	}
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // structs of strings and numbers always encode
	}
	return b
}
