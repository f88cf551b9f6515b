package rabbit

import "github.com/anyqueue/anyqueue/broker"

// Bounds of a window that adapts.
const (
	// leastHigh lets a fast handler with little concurrency keep the broker busy.
	leastHigh = 256
	// mostHigh is where more gains nothing: beyond it the client only buffers.
	mostHigh = 2000
)

// window is how many unacknowledged messages the broker may push to a consumer:
// AMQP's prefetch. Too small a one leaves workers waiting for the network, too
// large a one takes messages from other workers that idle.
//
// Unless it is fixed it begins with what the handlers can run at once, doubles
// when the runtime asks for more although all of it is in use, and begins again
// when messages were given back because nobody asked for them.
type window struct {
	fixed     int // what the configuration says; 0: it adapts
	size      int
	low, high int
	// parked: the consumer is cancelled until somebody asks.
	parked bool
}

func newWindow(prefetch int, in broker.Intent) window {
	low := min(max(in.Concurrency, 1), mostHigh)
	return window{
		fixed: prefetch,
		size:  low, low: low,
		high: min(max(2*in.MaxInFlight, leastHigh, low), mostHigh),
	}
}

// open returns the prefetch of a consumer that is started.
func (w *window) open() int {
	w.parked = false
	if w.fixed > 0 {
		return w.fixed
	}
	return w.size
}

// wants says whether a caller that waits needs another window: the broker waits
// for acknowledgements before it pushes more.
func (w *window) wants(unsettled int) bool {
	return w.parked || w.fixed == 0 && unsettled >= w.size && w.size < w.high
}

// grow makes the window larger if that is still wanted, and says so.
func (w *window) grow(unsettled int) bool {
	if !w.wants(unsettled) {
		return false
	}
	if !w.parked {
		w.size = min(2*w.size, w.high)
	}
	return true
}

// park is called when messages were given back unasked.
func (w *window) park() {
	w.parked, w.size = true, w.low
}
