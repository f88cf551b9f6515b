package rabbit

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// channel is what the server makes of frames of acknowledgement: a model of
// RabbitMQ's, with its rule that a frame must name a tag that is open.
type channel struct {
	t    *testing.T
	seed uint64
	open map[uint64]bool
}

func (c *channel) ack(tag uint64, multiple bool) (done []uint64) {
	if !c.open[tag] {
		c.t.Fatalf("seed %d: tag %d (multiple %v) is unknown to the server, which closes the channel", c.seed, tag, multiple)
	}
	for open := range c.open {
		if open == tag || multiple && open < tag {
			done = append(done, open)
		}
	}
	for _, tag := range done {
		delete(c.open, tag)
	}
	return done
}

// In whatever order and batches deliveries are acknowledged or given back, the
// server takes each of them once, nothing that is not settled, and no frame that
// it would close the channel for.
func TestTrackerAcknowledgesExactlyWhatIsSettled(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5000) {
		random := rand.New(rand.NewPCG(seed, 7))
		server := &channel{t: t, seed: seed, open: make(map[uint64]bool)}
		var tr tracker
		var delivered uint64
		held := make(map[uint64]bool) // delivered and not settled
		for range 60 {
			for range random.IntN(8) {
				delivered++
				held[delivered], server.open[delivered] = true, true
			}
			tags := slices.Sorted(maps.Keys(held))
			random.Shuffle(len(tags), func(i, j int) { tags[i], tags[j] = tags[j], tags[i] })
			if random.IntN(3) > 0 {
				slices.Sort(tags) // mostly in order, as in life
			}
			batch := tags[:random.IntN(len(tags)+1)]
			for _, tag := range batch {
				delete(held, tag)
			}
			if random.IntN(5) == 0 {
				for _, tag := range batch {
					tr.nack(tag)
					server.ack(tag, false)
				}
			} else {
				through, rest := tr.ack(slices.Clone(batch))
				if through > 0 {
					server.ack(through, true)
				}
				for _, tag := range rest {
					server.ack(tag, false)
				}
			}
			if !maps.Equal(server.open, held) {
				t.Fatalf("seed %d: the server waits for %v, the consumer holds %v", seed, server.open, held)
			}
		}
	}
}

// What is settled in order costs one frame for each batch.
func TestTrackerCoalescesWhatIsInOrder(t *testing.T) {
	var tr tracker
	for first := uint64(1); first < 1000; first += 100 {
		var batch []uint64
		for tag := first; tag < first+100; tag++ {
			batch = append(batch, tag)
		}
		through, rest := tr.ack(batch)
		if through != first+99 || len(rest) > 0 {
			t.Fatalf("tags %d to %d: one frame up to %d and %d others", first, first+99, through, len(rest))
		}
	}
	if len(tr.settled) > 0 {
		t.Errorf("the tracker remembers %d tags of which nothing is open", len(tr.settled))
	}
}
