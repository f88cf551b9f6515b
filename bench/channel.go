package bench

import (
	"context"
	"hash/maphash"
	"sync"
)

// channel is the floor: a buffered channel and goroutines, with nothing of what
// a queue gives. With keys it is one channel per goroutine, chosen by hash.
type channel struct {
	items []Item
	lanes []chan *Item
	lane  func(key string) int
	wg    sync.WaitGroup
}

func startChannel(_ context.Context, c Case, items []Item, h Handle) (Pipe, error) {
	p := &channel{items: items, lane: func(string) int { return 0 }}
	work := func(ch <-chan *Item) {
		for it := range ch {
			h(it.Key, it.Body)
		}
	}
	if !c.Keyed {
		p.lanes = []chan *Item{make(chan *Item, c.Window)}
		for range c.Concurrency {
			p.wg.Go(func() { work(p.lanes[0]) })
		}
		return p, nil
	}
	seed := maphash.MakeSeed()
	p.lane = func(key string) int { return int(maphash.String(seed, key) % uint64(len(p.lanes))) }
	for range c.Concurrency {
		ch := make(chan *Item, c.Window)
		p.lanes = append(p.lanes, ch)
		p.wg.Go(func() { work(ch) })
	}
	return p, nil
}

func (p *channel) Publish(_ context.Context, from, to int) error {
	for i := from; i < to; i++ {
		p.lanes[p.lane(p.items[i].Key)] <- &p.items[i]
	}
	return nil
}

func (p *channel) Stop() error {
	for _, ch := range p.lanes {
		close(ch)
	}
	p.wg.Wait()
	return nil
}
