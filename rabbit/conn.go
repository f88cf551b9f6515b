package rabbit

import (
	"net"
	"sync"
	"time"
)

// maxUnsent is how many bytes may wait for the network before Write blocks.
const maxUnsent = 1 << 20

// farewell is how long Close waits for what is still to be sent.
const farewell = 500 * time.Millisecond

// conn is the network connection under the AMQP client.
//
// The client flushes after every frame group, which makes a system call of each
// publish and each ack, and it writes without a deadline, so that one peer that
// stops reading blocks every caller for ever. conn takes both off it: Write hands
// the bytes to a goroutine that sends whatever has gathered since its last call,
// and each of those calls must end within the timeout, or the connection is
// closed and with it every lease and confirmation that depended on it.
type conn struct {
	net.Conn
	timeout time.Duration
	sent    chan struct{} // closed when the sending goroutine has ended

	mu       sync.Mutex
	change   sync.Cond // unsent, closing or failed have changed
	unsent   []byte
	queued   uint64 // bytes that were ever given to Write
	written  uint64 // of those, what the system has taken
	flushing int    // callers that wait for written
	closing  bool
	failed   error
}

// newConn starts the sending goroutine; Close ends it.
func newConn(c net.Conn, timeout time.Duration) *conn {
	w := &conn{Conn: c, timeout: timeout, sent: make(chan struct{})}
	w.change.L = &w.mu
	go w.send()
	return w
}

// Write never waits for the network unless a lot is unsent. An error is that of
// an earlier write.
func (w *conn) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.unsent) >= maxUnsent && w.failed == nil && !w.closing {
		w.change.Wait()
	}
	switch {
	case w.failed != nil:
		return 0, w.failed
	case w.closing:
		return 0, net.ErrClosed
	}
	if len(w.unsent) == 0 {
		w.change.Broadcast()
	}
	w.unsent = append(w.unsent, b...)
	w.queued += uint64(len(b))
	return len(b), nil
}

// flush waits until the system has taken what was written so far: from then on
// it is sent even if the process is killed.
func (w *conn) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for until := w.queued; w.written < until; {
		if w.failed != nil {
			return w.failed
		}
		w.flushing++
		w.change.Wait()
		w.flushing--
	}
	return nil
}

func (w *conn) send() {
	defer close(w.sent)
	var batch []byte
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for len(w.unsent) == 0 {
			if w.closing || w.failed != nil {
				return
			}
			w.change.Wait()
		}
		full := len(w.unsent) >= maxUnsent
		batch, w.unsent = w.unsent, batch[:0]
		if full {
			w.change.Broadcast() // a writer may be waiting for room
		}
		limit := w.timeout
		if w.closing {
			limit = farewell
		}
		w.mu.Unlock()
		err := w.Conn.SetWriteDeadline(time.Now().Add(limit))
		if err == nil {
			_, err = w.Conn.Write(batch)
		}
		w.mu.Lock()
		if w.written += uint64(len(batch)); w.flushing > 0 {
			w.change.Broadcast()
		}
		if err != nil {
			w.failed = err
			w.change.Broadcast()
			_ = w.Conn.Close() // the reader notices, and the client with it
			return
		}
	}
}

// Close sends what is unsent, for a moment, and closes the connection.
func (w *conn) Close() error {
	w.mu.Lock()
	w.closing = true
	w.change.Broadcast()
	w.mu.Unlock()
	_ = w.Conn.SetWriteDeadline(time.Now().Add(farewell)) // for a write that is under way
	<-w.sent
	return w.Conn.Close()
}

// abort closes the connection at once: whoever waits for the peer fails.
func (w *conn) abort() {
	w.mu.Lock()
	if w.failed == nil {
		w.failed = net.ErrClosed
	}
	w.change.Broadcast()
	w.mu.Unlock()
	_ = w.Conn.Close()
}
