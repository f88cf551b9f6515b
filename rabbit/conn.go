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
// The client flushes after every frame, which makes a system call of each publish
// and each ack, and it writes without a deadline, so that one peer that stops
// reading blocks every caller for ever. conn takes both off it: Write hands the
// bytes to a goroutine that sends whatever has gathered since its last call, and
// each of those calls must end within the timeout, or the connection is closed
// and with it every lease and confirmation that depended on it.
//
// Who must know that his frames are sent holds them back (cork) and sends them
// himself (flush): one call for all of them, and no switch of goroutines.
type conn struct {
	net.Conn
	timeout time.Duration
	sent    chan struct{} // closed when the sending goroutine has ended

	mu       sync.Mutex
	work     sync.Cond // for the sending goroutine
	progress sync.Cond // for those who wait for room or for written
	unsent   []byte
	spare    []byte // memory for the next unsent
	sending  bool   // somebody writes
	corked   int    // those who will flush
	queued   uint64 // bytes that were ever given to Write
	written  uint64 // of those, what the system has taken
	waiting  int    // those who wait for progress
	closing  bool
	failed   error
}

// newConn starts the sending goroutine; Close or abort ends it.
func newConn(c net.Conn, timeout time.Duration) *conn {
	w := &conn{Conn: c, timeout: timeout, sent: make(chan struct{})}
	w.work.L, w.progress.L = &w.mu, &w.mu
	go w.send()
	return w
}

// Write never waits for the network unless a lot is unsent. An error is that of
// an earlier write.
func (w *conn) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.unsent) >= maxUnsent && w.failed == nil && !w.closing {
		w.work.Signal()
		w.wait()
	}
	switch {
	case w.failed != nil:
		return 0, w.failed
	case w.closing:
		return 0, net.ErrClosed
	}
	if len(w.unsent) == 0 && w.corked == 0 {
		w.work.Signal()
	}
	w.unsent = append(w.unsent, b...)
	w.queued += uint64(len(b))
	return len(b), nil
}

// wait waits for progress. Lock held.
func (w *conn) wait() {
	w.waiting++
	w.progress.Wait()
	w.waiting--
}

// cork announces a flush: what is written until then is sent by it.
func (w *conn) cork() {
	w.mu.Lock()
	w.corked++
	w.mu.Unlock()
}

// flush ends a cork, and returns when the system has taken all that was written
// before: from then on it is sent even if the process is killed.
func (w *conn) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.corked--
	for until := w.queued; w.written < until && w.failed == nil; {
		if w.sending {
			w.wait()
		} else {
			w.sendOut()
		}
	}
	if len(w.unsent) > 0 {
		w.work.Signal() // written by others meanwhile
	}
	return w.failed
}

// send sends what is unsent, until the connection is closed and all is sent.
func (w *conn) send() {
	defer close(w.sent)
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.failed == nil {
		switch {
		case len(w.unsent) > 0 && !w.sending && (w.corked == 0 || w.closing || len(w.unsent) >= maxUnsent):
			w.sendOut()
		case len(w.unsent) == 0 && !w.sending && w.closing:
			return
		default:
			w.work.Wait()
		}
	}
}

// sendOut sends what is unsent. Lock held, except while it writes.
func (w *conn) sendOut() {
	batch := w.unsent
	w.unsent, w.spare = w.spare[:0], nil
	w.sending = true
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
	w.sending = false
	w.spare = batch[:0]
	w.written += uint64(len(batch))
	if err != nil && w.failed == nil {
		w.failed = err
		_ = w.Conn.Close() // the reader notices, and the client with it
	}
	if w.failed != nil || w.closing {
		w.work.Signal()
	}
	if w.waiting > 0 {
		w.progress.Broadcast()
	}
}

// Close sends what is unsent, for a moment, and closes the connection.
func (w *conn) Close() error {
	w.mu.Lock()
	w.closing = true
	w.work.Signal()
	w.progress.Broadcast()
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
	w.work.Signal()
	w.progress.Broadcast()
	w.mu.Unlock()
	_ = w.Conn.Close()
}
