package faultlab

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// lab is a proxy in front of an echo server.
type lab struct {
	*testing.T
	*Proxy

	mu    sync.Mutex
	ended []error // how the server's connections ended; nil for an end of file
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	b := &lab{T: t}
	b.Proxy, err = NewProxy(l.Addr().String())
	noError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_, err := io.Copy(c, c)
				b.mu.Lock()
				defer b.mu.Unlock()
				b.ended = append(b.ended, err)
			})
		}
	})
	t.Cleanup(func() {
		noError(t, b.Close())
		l.Close()
		wg.Wait()
	})
	return b
}

// endings are how the server's connections have ended so far.
func (b *lab) endings() []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.ended)
}

// served is how many connections the server has seen the end of.
func (b *lab) served() int { return len(b.endings()) }

// client is a connection to a lab.
type client struct {
	*testing.T
	net.Conn
}

func (b *lab) dial() *client {
	b.Helper()
	c, err := net.Dial("tcp", b.Addr())
	noError(b.T, err)
	b.Cleanup(func() { c.Close() })
	return &client{b.T, c}
}

func (c *client) send(s string) {
	c.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.Fatal(err)
	}
}

func (c *client) wants(s string) {
	c.Helper()
	buf := make([]byte, len(s))
	c.SetReadDeadline(time.Now().Add(patience))
	if n, err := io.ReadFull(c, buf); err != nil || string(buf) != s {
		c.Fatalf("read %q and %v, want %q", buf[:n], err, s)
	}
}

func (c *client) echoes(s string) {
	c.Helper()
	c.send(s)
	c.wants(s)
}

// hears nothing for a while.
func (c *client) hearsNothing() {
	c.Helper()
	var buf [64]byte
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Read(buf[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.Fatalf("read %q and %v, want silence", buf[:n], err)
	}
}

// ends reads all that is left and returns it with the error, nil for an end of
// file.
func (c *client) ends() (string, error) {
	c.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	rest, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.Fatalf("the connection is still open, after %q", rest)
	}
	return string(rest), err
}

func (c *client) wantsReset() {
	c.Helper()
	if rest, err := c.ends(); !errors.Is(err, syscall.ECONNRESET) && !isWindowsReset(err) {
		c.Fatalf("the connection ended with %q and %v, want a reset", rest, err)
	}
}

func isWindowsReset(err error) bool { return errors.Is(err, syscall.Errno(10054)) }
