package bench

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Every contender does the whole work that it is measured by: each message is
// handled exactly once, and where keys are kept in order, in that order.
func TestEveryContenderHandlesEachMessageOnceAndInOrder(t *testing.T) {
	const n = 3 * prepared
	for _, c := range []Case{NewCase(false, 1, 100), NewCase(false, 16, 100), NewCase(true, 16, 100), NewCase(true, 256, 1024)} {
		for _, ct := range Contenders(c, Batches{Receive: 10, Settle: 10}) {
			t.Run(c.String()+"/"+ct.Name, func(t *testing.T) {
				items := c.Items()
				for i := range items {
					binary.LittleEndian.PutUint32(items[i].Body, uint32(i))
				}
				var mu sync.Mutex
				count := make([]int, prepared)
				byKey := make(map[string][]uint32)
				flow := NewFlow(c.Window)
				p, err := ct.Start(t.Context(), c, items, func(key string, body []byte) {
					i := binary.LittleEndian.Uint32(body)
					mu.Lock()
					count[i]++
					byKey[key] = append(byKey[key], i)
					mu.Unlock()
					flow.Done()
				})
				if err != nil {
					t.Fatal(err)
				}
				if err := Run(t.Context(), p, flow, n); err != nil {
					t.Fatal(err)
				}
				if err := p.Stop(); err != nil {
					t.Fatal(err)
				}
				for i, times := range count {
					if times != n/prepared {
						t.Fatalf("message %d was handled %d times in %d rounds", i, times, n/prepared)
					}
				}
				if !c.Keyed {
					return
				}
				for key, handled := range byKey {
					// The same messages again and again: ascending within each round.
					round := len(handled) / (n / prepared)
					for part := range slices.Chunk(handled, round) {
						if !slices.IsSorted(part) {
							t.Fatalf("key %s was handled out of order: %v", key, handled)
						}
					}
				}
			})
		}
	}
}

// A message that is never handled ends a run with its context, not never.
func TestRunEndsWithItsContext(t *testing.T) {
	c := NewCase(false, 1, 100)
	ctx := t.Context()
	p, err := startChannel(ctx, c, c.Items(), func(string, []byte) {})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := contextAfter(ctx)
	defer cancel()
	err = Run(ended, p, NewFlow(c.Window), 1000)
	if err == nil || !strings.Contains(err.Error(), "0 of 1000 messages handled") {
		t.Errorf("Run = %v, want it to say that nothing was handled", err)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
}

// The broker alone is given the sizes that the runtime's batches have.
func TestBatchesOfTheRuntimeAreCounted(t *testing.T) {
	b, err := RuntimeBatches(t.Context(), NewCase(true, 16, 100), 20000)
	if err != nil {
		t.Fatal(err)
	}
	if b.Receive < 1 || b.Receive > 256 || b.Settle < 1 || b.Settle > 256 {
		t.Errorf("batches %+v, want each between 1 and the default MaxInFlight of 256", b)
	}
}
