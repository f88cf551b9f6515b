package rabbit

import (
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// Bounds of a window that adapts.
const (
	// leastHigh lets a fast handler with little concurrency keep the broker busy.
	leastHigh = 256
	// mostHigh is where more gains nothing: beyond it the client only buffers.
	mostHigh = 2000
	// soon: who is starved again within this time is fast, and gets more than he asks
	// for.
	soon = 200 * time.Millisecond
)

// window is how many unacknowledged messages the broker may push to a consumer:
// AMQP's prefetch. Too small a one leaves workers waiting for the network, too
// large a one takes messages from other workers that idle.
//
// Unless it is fixed it is what Receive asks for. It belongs to a consumer, so
// that another size needs another consumer, which costs a few exchanges. A worker
// whose handlers are slow pays them for each message, and is pushed no message
// that it cannot run at once. For one that is fast it doubles, up to twice what
// he holds and asks for.
type window struct {
	fixed int // what the configuration says; 0: it adapts
	size  int
	high  int
	// parked: there is no consumer, until somebody asks.
	parked bool
	last   time.Time // when it was set
}

func newWindow(prefetch int, in broker.Intent) window {
	return window{
		fixed: prefetch, parked: true,
		high: min(max(2*in.MaxInFlight, leastHigh), mostHigh),
	}
}

// prefetch is what a consumer is started with.
func (w *window) prefetch() int {
	if w.fixed > 0 {
		return w.fixed
	}
	return max(w.size, 1)
}

// wants says whether a caller that waits for so many messages needs another
// window: the broker waits for acknowledgements before it pushes as many. open is
// how many deliveries of the present consumer are not settled.
func (w *window) wants(open, asked int) bool {
	return w.parked || w.fixed == 0 && open+asked > w.size && w.size < w.high
}

// grow sets the window for a caller that waits, if that is still wanted, and says
// so. held is how many deliveries are not settled in all.
func (w *window) grow(open, held, asked int, now time.Time) bool {
	if !w.wants(open, asked) {
		return false
	}
	size := asked
	if !w.parked && now.Sub(w.last) < soon {
		size = max(size, min(2*w.size, 2*(held+asked)))
	}
	w.size = min(max(size, 1), w.high)
	w.parked, w.last = false, now
	return true
}
