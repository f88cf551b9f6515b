package runtime_test

import (
	goruntime "runtime"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/attribute"
)

func equal(a, b []string) bool { return slices.Equal(a, b) }

func goexit() { goruntime.Goexit() }

// gauge counts how many are inside at once.
type gauge struct {
	mu        sync.Mutex
	now, most int
}

// enter goes in and returns the way out.
func (g *gauge) enter() (leave func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now++
	g.most = max(g.most, g.now)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.now--
	}
}

func (g *gauge) peak() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.most
}

func attrKey(name string) attribute.Key { return attribute.Key(name) }
