package runtime

import (
	"context"
	"sync"
)

// pause keeps fetch from receiving. The zero value is not paused.
type pause struct {
	mu     sync.Mutex
	paused bool
	cancel context.CancelFunc // of the Receive that is under way
}

func (p *pause) on() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paused
}

func (p *pause) begin() {
	p.mu.Lock()
	cancel := p.cancel
	p.paused = true
	p.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

func (p *pause) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = false
}

// receiving returns the context for one Receive, which a pause ends; over is to
// be called after it. ok is false while paused.
func (p *pause) receiving(ctx context.Context) (_ context.Context, over func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused {
		return nil, nil, false
	}
	ctx, cancel := context.WithCancel(ctx)
	p.cancel = cancel
	return ctx, func() {
		p.mu.Lock()
		p.cancel = nil
		p.mu.Unlock()
		cancel()
	}, true
}
