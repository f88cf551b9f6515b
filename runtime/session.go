package runtime

import (
	"fmt"
	"sync"

	"github.com/anyqueue/anyqueue/broker"
)

// sessions watches the sessions that deliveries live on. One goroutine each, for
// as long as the session or the consumer lives.
type sessions struct {
	c    *Consumer
	stop <-chan struct{}
	wg   *sync.WaitGroup
	seen map[*broker.Session]struct{} // fetch's goroutine and, under mu, the watchers
	mu   sync.Mutex
}

// watch makes sure that the deliveries' sessions are watched.
func (s *sessions) watch(deliveries []broker.Delivery) {
	var last *broker.Session
	for i := range deliveries {
		x := deliveries[i].Session
		if x == nil || x == last {
			continue
		}
		last = x
		s.mu.Lock()
		_, known := s.seen[x]
		s.seen[x] = struct{}{}
		s.mu.Unlock()
		if known {
			// It may have ended while these deliveries were on their way, after
			// its watcher took away what was in flight then.
			select {
			case <-x.Lost():
				s.c.sessionLost(x)
			default:
			}
			continue
		}
		s.wg.Go(func() {
			select {
			case <-x.Lost():
				s.c.sessionLost(x)
			case <-s.stop:
			}
			s.mu.Lock()
			delete(s.seen, x)
			s.mu.Unlock()
		})
	}
}

// sessionLost takes away everything that lived on a session.
func (c *Consumer) sessionLost(x *broker.Session) {
	f := c.flight
	cause := fmt.Errorf("%w: %s ended: %w", broker.ErrLeaseLost, x.Name(), orReason(x.Cause(), ""))
	now := c.now()
	var running []*attempt
	f.mu.Lock()
	for t := f.all.first; t != nil; {
		after := t.after // lose takes t out of the ring
		if t.d.Session == x {
			if a := f.lose(t, cause, lostSession, now); a != nil {
				running = append(running, a)
			}
		}
		t = after
	}
	f.mu.Unlock()
	c.leasesLost(running)
}
