package faultlab

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Direction is a way that bytes take through a proxy, or both.
type Direction int

// The directions, seen from the proxy.
const (
	ToServer Direction = 1 << iota // what the client sent
	ToClient                       // what the server sent
	Both     = ToServer | ToClient
)

func (d Direction) String() string {
	switch d {
	case ToServer:
		return "to server"
	case ToClient:
		return "to client"
	case Both:
		return "both ways"
	default:
		return fmt.Sprintf("Direction(%d)", int(d))
	}
}

// Action is what happens to a connection after a hook has looked at a piece.
type Action int

// The actions of a hook.
const (
	Forward Action = iota // send on what the hook returned; nothing if it is empty
	Reset                 // the same, and then cut this connection
)

// Hook sees a piece that is about to be sent on and returns what is sent in its
// place: data itself, another text, or nil to drop it. Connections are numbered
// from 1 in the order in which they were accepted. Each connection calls it from
// its own goroutine, one piece after another in each direction. data may be
// changed in place but not kept. A hook may block, and may use every control of
// the proxy but Close.
type Hook func(conn int, data []byte) (send []byte, then Action)

// Proxy is a TCP proxy in front of one server. Its controls may be used at any
// time and by any goroutine; they act on the connections that are open, and say
// so where they act on later ones too.
type Proxy struct {
	target string
	addr   string
	wg     sync.WaitGroup
	bytes  [2]atomic.Int64

	// refusing serialises Refuse and Close, which close and open the listener.
	// It is taken before mu.
	refusing  sync.Mutex
	listener  net.Listener  // nil while refusing
	accepting chan struct{} // closed when the listener's goroutine has ended

	mu        sync.Mutex
	closed    bool
	blackhole bool
	accepted  int
	conns     map[*conn]struct{}
	stalled   Direction     // on all connections, later ones too
	changed   chan struct{} // closed and replaced whenever a stall is lifted
	ways      [2]way
	faults    []error
}

// way is what is set for one direction of all connections.
type way struct {
	delay   time.Duration
	corrupt int // bytes left to corrupt
	split   bufio.SplitFunc
	hook    Hook
	limit   int // bytes left to pass until the cut, while cut is not nil
	cut     chan struct{}
}

// NewProxy opens a proxy in front of target, a host and port, at an address of
// its own on the loopback interface. The target is dialled anew for each
// connection, so it need not be up yet.
func NewProxy(target string) (*Proxy, error) {
	if _, _, err := net.SplitHostPort(target); err != nil {
		return nil, fmt.Errorf("open a proxy: target %q is no host and port: %w", target, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a proxy in front of %s: %w", target, err)
	}
	p := &Proxy{
		target:  target,
		addr:    l.Addr().String(),
		conns:   make(map[*conn]struct{}),
		changed: make(chan struct{}),
	}
	p.serve(l)
	return p, nil
}

// Addr is the host and port to connect to. It stays the same for the life of the
// proxy.
func (p *Proxy) Addr() string { return p.addr }

// Close cuts all connections, closes the listener and waits for the goroutines.
// It returns what went wrong inside of the proxy, such as a stream that could
// not be split into frames.
func (p *Proxy) Close() error {
	p.refusing.Lock()
	defer p.refusing.Unlock()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stopListening()
	p.Cut()
	p.wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.faults...)
}

// Cut resets the connections, as when a host dies and its successor answers:
// both ends get "connection reset by peer". New connections succeed.
func (p *Proxy) Cut() {
	for _, c := range p.take() {
		c.end(true)
	}
}

// HangUp closes the connections in good order at the level of TCP: both ends
// read an end of file, without a farewell of their protocol.
func (p *Proxy) HangUp() {
	for _, c := range p.take() {
		c.end(false)
	}
}

// CutAfter resets the connection that carries byte n+1 in this direction, in the
// middle of a frame if it comes so; exactly n bytes pass before it, counted from
// now over all connections. n of 0 cuts at the next byte. The channel is closed
// when it has happened. Each direction has one such limit; a second call
// replaces the first, whose channel stays open for ever.
func (p *Proxy) CutAfter(d Direction, n int) <-chan struct{} {
	done := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &p.ways[index(d)]
	w.limit, w.cut = n, done
	return done
}

// Refuse of true closes the listener, so that new connections are refused as by a
// host without the server; those that are open stay. Refuse of false opens it again
// at the same address.
func (p *Proxy) Refuse(refuse bool) error {
	p.refusing.Lock()
	defer p.refusing.Unlock()
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	switch {
	case closed:
		return fmt.Errorf("refuse connections at %s: the proxy is closed", p.addr)
	case refuse:
		p.stopListening()
	case p.listener == nil:
		l, err := reopen(p.addr)
		if err != nil {
			return err
		}
		p.serve(l)
	}
	return nil
}

// reopen listens at an address that was given up. Meanwhile the port may have
// been lent to an outgoing connection of some process, so it tries for a while.
func reopen(addr string) (net.Listener, error) {
	const patience, pause = 5 * time.Second, 20 * time.Millisecond
	for deadline := time.Now().Add(patience); ; <-time.After(pause) {
		l, err := net.Listen("tcp", addr)
		if err == nil {
			return l, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("accept connections at %s again: still not possible after %v: %w", addr, patience, err)
		}
	}
}

// Blackhole of true accepts new connections and leaves them alone: nothing is
// forwarded or answered, the server hears nothing of them. They stay so for
// their lives, until Cut; after Blackhole of false new ones are served.
func (p *Proxy) Blackhole(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blackhole = on
}

// Stall stops the flow in a direction, or both, of all connections, later ones
// too, until Resume. The sockets stay open and nothing is lost: what is sent
// meanwhile waits in the proxy until that is full, then in the sender. The end of
// a stream is held back as well, so that one side does not see the other die:
// the half-open connection. A piece that is being sent on at this moment may
// still pass.
func (p *Proxy) Stall(d Direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled |= d
}

// StallPresent is Stall for the connections that are open: whoever gives up and
// connects again is served.
func (p *Proxy) StallPresent(d Direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.stalled |= d
	}
}

// Resume lifts every stall, and all that waited flows.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = 0
	for c := range p.conns {
		c.stalled = 0
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// Delay sends on what arrives from now on d later, on all connections, later
// ones too. It is latency and takes no bandwidth. 0 is none.
func (p *Proxy) Delay(dir Direction, d time.Duration) {
	p.set(dir, func(w *way) { w.delay = d })
}

// Corrupt inverts the next n bytes in a direction, of whichever connection.
func (p *Proxy) Corrupt(dir Direction, n int) {
	p.set(dir, func(w *way) { w.corrupt = n })
}

// Frames makes hooks see whole frames: split is called with what has arrived and
// says by the number of bytes to advance how long the first frame is, 0 if it is
// not complete; the token is not used. It acts on connections accepted from now
// on, each from its first byte, because the middle of a stream shows no
// boundaries. What is incomplete when the stream ends passes unseen. A connection
// whose stream split refuses is cut, and Close returns the error.
func (p *Proxy) Frames(dir Direction, split bufio.SplitFunc) {
	p.set(dir, func(w *way) { w.split = split })
}

// Intercept shows all that passes in a direction to a hook, whole frames if
// Frames was called, else pieces as they arrive. There is one hook for each
// direction; nil removes it.
func (p *Proxy) Intercept(dir Direction, h Hook) {
	p.set(dir, func(w *way) { w.hook = h })
}

// Bytes is how many bytes were sent on in a direction, or both, so far.
func (p *Proxy) Bytes(d Direction) int64 {
	var n int64
	for i := range p.bytes {
		if d&(1<<i) != 0 {
			n += p.bytes[i].Load()
		}
	}
	return n
}

// Connections is how many connections are open.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// Accepted is how many connections there have been, and so the number of the
// last one.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

func (p *Proxy) set(d Direction, change func(*way)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.ways {
		if d&(1<<i) != 0 {
			change(&p.ways[i])
		}
	}
}

// index is where a single direction stands in the proxy's arrays.
func index(d Direction) int {
	if d != ToServer && d != ToClient {
		panic(fmt.Sprintf("faultlab: %v where one direction is needed", d))
	}
	return int(d) - 1
}

// serve accepts connections until the listener is closed. The caller holds
// refusing, or nobody else knows the proxy.
func (p *Proxy) serve(l net.Listener) {
	done := make(chan struct{})
	p.listener, p.accepting = l, done
	p.wg.Go(func() {
		defer close(done)
		for {
			client, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // such as too many open files
				p.fault(fmt.Errorf("accept a connection at %s: %w", p.addr, err))
				return
			}
			p.accept(client)
		}
	})
}

// stopListening returns when no further connection will be accepted. The caller
// holds refusing.
func (p *Proxy) stopListening() {
	if p.listener == nil {
		return
	}
	if err := p.listener.Close(); err != nil {
		p.fault(fmt.Errorf("close the listener at %s: %w", p.addr, err))
	}
	<-p.accepting
	p.listener = nil
}

func (p *Proxy) accept(client net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accepted++
	c := &conn{proxy: p, number: p.accepted, client: client, done: make(chan struct{})}
	p.conns[c] = struct{}{}
	if p.blackhole {
		return
	}
	for i, w := range p.ways {
		c.splits[i] = w.split
	}
	p.wg.Go(c.run)
}

// take removes all connections from the books, for the caller to end them.
func (p *Proxy) take() []*conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := make([]*conn, 0, len(p.conns))
	for c := range p.conns {
		taken = append(taken, c)
	}
	clear(p.conns)
	return taken
}

func (p *Proxy) fault(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, err)
}
