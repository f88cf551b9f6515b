package runtime

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Health says whether a consumer makes progress: not whether a connection is
// open, but whether work that waits is being done.
type Health struct {
	Healthy bool `json:"healthy"`
	// Status is "starting", "running", "paused", "draining" or "stopped".
	Status string `json:"status"`
	// Reasons say what is wrong and what to look at; empty when healthy.
	Reasons []string `json:"reasons,omitempty"`
	Stats   Stats    `json:"stats"`
}

// health keeps what the stages know about their own troubles.
type health struct {
	mu           sync.Mutex
	started      time.Duration
	receiveErr   error
	receiveSince time.Duration // of the first failure in a row
	receivedAt   time.Duration // of the last success
	receiving    time.Duration // when the Receive that is under way began
}

func (h *health) start(now time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.started, h.receivedAt = now, now
}

// receivingProof is how long a Receive must wait without failing to show that the
// broker is there: an adapter that cannot reach it says so within 5 s.
const receivingProof = 10 * time.Second

// receive notes that a Receive begins.
func (h *health) receive(now time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.receiving = now
}

// disconnected returns why the broker gives nothing, and since when; nil when it
// is there. mu held.
func (h *health) disconnected(now time.Duration) (since time.Duration, err error) {
	if h.receiveErr != nil && h.receiving > h.receiveSince && now-h.receiving >= receivingProof {
		return 0, nil
	}
	return h.receiveSince, h.receiveErr
}

// received notes the result of a Receive. It returns whether this is the first
// failure in a row, which is the one to log.
func (h *health) received(err error, now time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := h.receiveErr == nil
	h.receiveErr = err
	if err == nil {
		h.receivedAt = now
		return false
	}
	if first {
		h.receiveSince = now
	}
	return first
}

// Health reports on the consumer. It is unhealthy when, for Options.StallAfter:
// the broker could not be reached; outcomes could not be settled (a full
// dead-letter queue, for example); messages were ready and workers free, here or
// at the broker, and none started; or every worker is in a handler that ignores
// its cancellation.
func (c *Consumer) Health() Health {
	now := c.now()
	h := Health{Status: c.status(), Stats: c.Stats()}
	h.Reasons = c.troubles(h.Stats, now)
	h.Healthy = len(h.Reasons) == 0
	return h
}

func (c *Consumer) status() string {
	switch c.phase.Load() {
	case phaseNew:
		return "starting"
	case phaseDraining:
		return "draining"
	case phaseStopped:
		return "stopped"
	}
	if c.pause.on() {
		return "paused"
	}
	return "running"
}

func (c *Consumer) troubles(s Stats, now time.Duration) []string {
	switch c.phase.Load() {
	case phaseNew:
		return []string{"not started: call Run"}
	case phaseStopped:
		return []string{"stopped: Run has returned"}
	}
	limit := c.opt.StallAfter
	var reasons []string
	add := func(since time.Duration, format string, args ...any) {
		if d := now - since; d >= limit {
			reasons = append(reasons, fmt.Sprintf(format, args...)+fmt.Sprintf(" for %s", d.Round(time.Second)))
		}
	}
	f := c.flight
	f.mu.Lock()
	lastStart, readyAt := f.lastStart, f.readyAt
	free := f.workers.limit - f.workers.running
	runnable := f.runnable()
	room := f.limit - f.inFlight()
	unsettled := f.unsettled
	unsettledSince, refused, settleErr := f.unsettledNow()
	f.mu.Unlock()

	c.health.mu.Lock()
	receiveSince, receiveErr := c.health.disconnected(now)
	started, receivedAt := c.health.started, c.health.receivedAt
	c.health.mu.Unlock()

	if receiveErr != nil {
		add(receiveSince, "the broker gives nothing (%v)", receiveErr)
	}
	if refused {
		unsettledSince = now - limit // nothing will change by itself: say so at once
	}
	if settleErr != nil {
		add(unsettledSince, "%d outcomes cannot be settled (%v), and their messages stay in flight", unsettled, settleErr)
	}
	if runnable && free > 0 {
		add(max(lastStart, readyAt, started), "%d messages are ready and %d workers are free, and nothing has started", s.Ready, free)
	}
	running := c.phase.Load() == phaseRunning && !c.pause.on()
	if since, ok := c.queue.waiting(); ok && running && free > 0 && receiveErr == nil {
		since = max(since, receivedAt, started)
		if room > 0 {
			add(since, "the broker has messages ready and %d workers are free, and nothing has arrived", free)
		} else {
			add(since, "the broker has messages ready, and MaxInFlight is taken by others that wait (%d held, %d behind their key, %d to be settled)",
				s.Held, s.Blocked, s.Settling)
		}
	}
	if free == 0 && s.Stuck == s.Running {
		add(lastStart, "all %d workers are in handlers that ignore their cancellation, and nothing has started", s.Running)
	}
	return reasons
}

// HealthHandler serves Health as JSON: status 200 when healthy, 503 when not. A
// draining consumer is healthy: it does what it should.
func (c *Consumer) HealthHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := c.Health()
		body, err := json.MarshalIndent(h, "", "  ")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if !h.Healthy {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write(append(body, '\n')) // the client has gone: nothing to do
	})
}

// String is one line for a log or a terminal.
func (h Health) String() string {
	if h.Healthy {
		return h.Status + ", healthy"
	}
	return h.Status + ", unhealthy: " + strings.Join(h.Reasons, "; ")
}
