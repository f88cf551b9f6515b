package faultlab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// dialTimeout bounds the dialling of the target, which Close waits for.
	dialTimeout = 5 * time.Second
	// readSize is the largest piece that is read at once.
	readSize = 32 << 10
	// queueSize is how many bytes one direction of a connection holds while it is
	// delayed or stalled; beyond it the sender feels the resistance.
	queueSize = 1 << 20
)

// conn is one connection of a client and the one to the server that belongs to
// it. Each direction has two goroutines: one reads and stamps, the other waits
// and sends on, so that a delay does not slow the stream down.
type conn struct {
	proxy   *Proxy
	number  int
	client  net.Conn
	splits  [2]bufio.SplitFunc
	stalled Direction     // guarded by proxy.mu
	done    chan struct{} // closed when the connection has ended

	mu     sync.Mutex // guards what follows; proxy.mu is never taken under it
	server net.Conn
	ended  bool
	flows  []*flow
}

// run serves the connection until it ends.
func (c *conn) run() {
	server, err := net.DialTimeout("tcp", c.proxy.target, dialTimeout)
	if err != nil { // a server that is down; the client is told as well as can be
		c.end(true)
		return
	}
	up := newFlow(c, ToServer, c.client, server)
	down := newFlow(c, ToClient, server, c.client)
	c.mu.Lock()
	c.server, c.flows = server, []*flow{up, down}
	ended := c.ended
	c.mu.Unlock()
	if ended { // cut while dialling
		drop(server, true)
		return
	}
	var wg sync.WaitGroup
	for _, f := range c.flows {
		wg.Go(f.read)
		wg.Go(f.write)
	}
	wg.Wait()
	c.end(false)
}

// end closes both sides, with a reset or in good order. The first call counts.
func (c *conn) end(reset bool) {
	c.proxy.mu.Lock()
	delete(c.proxy.conns, c)
	c.proxy.mu.Unlock()

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.ended = true
	close(c.done)
	drop(c.client, reset)
	if c.server != nil {
		drop(c.server, reset)
	}
	for _, f := range c.flows {
		f.wake()
	}
}

func drop(c net.Conn, reset bool) {
	if tcp, ok := c.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0) // fails only if the other side was faster
	}
	_ = c.Close()
}

// open waits for the end of any stall of a direction and says whether the
// connection still lives.
func (c *conn) open(d Direction) bool {
	for {
		c.proxy.mu.Lock()
		stalled := (c.stalled|c.proxy.stalled)&d != 0
		changed := c.proxy.changed
		c.proxy.mu.Unlock()
		if !stalled {
			changed = nil
		}
		select {
		case <-c.done:
			return false
		default:
		}
		if !stalled {
			return true
		}
		select {
		case <-c.done:
			return false
		case <-changed:
		}
	}
}

// piece is what was read at once, or how the stream ended.
type piece struct {
	due  time.Time
	data []byte
	err  error // io.EOF, or why the reading failed; then there is no data
}

// flow is one direction of a connection.
type flow struct {
	*conn
	dir      Direction
	src, dst net.Conn
	split    bufio.SplitFunc
	partial  []byte // the beginning of a frame; the writer's own

	lock  sync.Mutex // guards the queue
	moved sync.Cond
	queue []piece
	size  int
	over  bool
}

func newFlow(c *conn, d Direction, src, dst net.Conn) *flow {
	f := &flow{conn: c, dir: d, src: src, dst: dst, split: c.splits[index(d)]}
	f.moved.L = &f.lock
	return f
}

// read queues what arrives, and how it ends.
func (f *flow) read() {
	buf := make([]byte, readSize)
	for {
		n, err := f.src.Read(buf)
		due := f.due()
		if n > 0 && !f.push(piece{due: due, data: append([]byte(nil), buf[:n]...)}) {
			return
		}
		if err != nil {
			f.push(piece{due: due, err: err})
			return
		}
	}
}

func (f *flow) due() time.Time {
	f.proxy.mu.Lock()
	defer f.proxy.mu.Unlock()
	if d := f.proxy.ways[index(f.dir)].delay; d > 0 {
		return time.Now().Add(d)
	}
	return time.Time{}
}

// push waits for room and returns false when the connection has ended.
func (f *flow) push(p piece) bool {
	f.lock.Lock()
	defer f.lock.Unlock()
	for f.size >= queueSize && !f.over {
		f.moved.Wait()
	}
	if f.over {
		return false
	}
	f.queue = append(f.queue, p)
	f.size += len(p.data)
	f.moved.Broadcast()
	return true
}

// pop waits for a piece and returns false when the connection has ended.
func (f *flow) pop() (piece, bool) {
	f.lock.Lock()
	defer f.lock.Unlock()
	for len(f.queue) == 0 && !f.over {
		f.moved.Wait()
	}
	if f.over {
		return piece{}, false
	}
	p := f.queue[0]
	f.queue[0] = piece{}
	f.queue = f.queue[1:]
	f.size -= len(p.data)
	f.moved.Broadcast()
	return p, true
}

// wake ends the waits of a connection that has ended.
func (f *flow) wake() {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.over = true
	f.moved.Broadcast()
}

// write sends on what was queued, when it is due and the way is open.
func (f *flow) write() {
	for {
		p, ok := f.pop()
		if !ok || !f.await(p.due) || !f.open(f.dir) {
			return
		}
		if p.err != nil {
			f.finish(p.err)
			return
		}
		if !f.forward(p.data) {
			return
		}
	}
}

// await waits until t and says whether the connection still lives.
func (f *flow) await(t time.Time) bool {
	d := time.Until(t)
	if t.IsZero() || d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-f.done:
		return false
	case <-timer.C:
		return true
	}
}

// finish passes on how the stream ended. An end of file leaves the other
// direction open, as TCP does.
func (f *flow) finish(err error) {
	if !errors.Is(err, io.EOF) {
		f.end(true)
		return
	}
	if len(f.partial) > 0 && !f.send(f.partial) {
		return
	}
	if tcp, ok := f.dst.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // fails only if the other side is gone, which the other direction sees
	}
}

// forward cuts data into frames and sends them on. It returns false when the
// connection has ended.
func (f *flow) forward(data []byte) bool {
	if f.split == nil {
		return f.show(data)
	}
	f.partial = append(f.partial, data...)
	rest := f.partial
	for len(rest) > 0 {
		n, _, err := f.split(rest, false)
		if err != nil {
			f.proxy.fault(fmt.Errorf("split connection %d, %v, into frames: %w", f.number, f.dir, err))
			f.end(true)
			return false
		}
		if n == 0 {
			break
		}
		frame := rest[:n:n]
		rest = rest[n:]
		// A hook may have stalled this direction between two frames of a piece.
		if !f.open(f.dir) || !f.show(frame) {
			return false
		}
	}
	f.partial = f.partial[:copy(f.partial, rest)]
	return true
}

// show asks the hook and sends on what it returns.
func (f *flow) show(data []byte) bool {
	f.proxy.mu.Lock()
	hook := f.proxy.ways[index(f.dir)].hook
	f.proxy.mu.Unlock()
	then := Forward
	if hook != nil {
		data, then = hook(f.number, data)
	}
	if !f.send(data) {
		return false
	}
	if then == Reset {
		f.end(true)
		return false
	}
	return true
}

// send writes data, as far as a limit lets it pass. It returns false when the
// connection has ended.
func (f *flow) send(data []byte) bool {
	if len(data) == 0 {
		return true
	}
	i := index(f.dir)
	f.proxy.mu.Lock()
	w := &f.proxy.ways[i]
	var cut chan struct{}
	if w.cut != nil {
		if len(data) > w.limit {
			data, cut, w.cut = data[:w.limit], w.cut, nil
		} else {
			w.limit -= len(data)
		}
	}
	corrupt := min(w.corrupt, len(data))
	w.corrupt -= corrupt
	f.proxy.mu.Unlock()

	if corrupt > 0 {
		data = append([]byte(nil), data...) // it may be the hook's
		for j := range corrupt {
			data[j] = ^data[j]
		}
	}
	// Counted first, so that who has received a byte finds it counted.
	f.proxy.bytes[i].Add(int64(len(data)))
	n, err := f.dst.Write(data)
	f.proxy.bytes[i].Add(int64(n - len(data)))
	if cut != nil {
		f.end(true)
		close(cut)
		return false
	}
	if err != nil {
		// The receiver is gone. The other direction reads of it and tells the
		// sender, at once or when a stall is lifted.
		return f.discard()
	}
	return true
}

// discard throws away what still comes until the stream or the connection ends.
// It returns false always.
func (f *flow) discard() bool {
	for {
		if p, ok := f.pop(); !ok || p.err != nil {
			return false
		}
	}
}
