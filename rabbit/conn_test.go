package rabbit

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// pair returns both ends of a connection: ours, and the peer's.
func pair(t *testing.T, timeout time.Duration) (*conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := newConn(client, timeout)
	t.Cleanup(func() {
		c.abort()
		_ = peer.Close()
		<-c.sent
	})
	return c, peer
}

// What several goroutines write arrives complete, each write in one piece, and
// flush returns when the system has it.
func TestConnSendsEverythingInOrder(t *testing.T) {
	c, peer := pair(t, time.Second)
	const writers, writes = 4, 2000
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			line := bytes.Repeat([]byte{byte('a' + w)}, 99)
			for i := range writes {
				flush := (i+w)%7 == 0
				if flush {
					c.cork()
				}
				if _, err := c.Write(append(line, '\n')); err != nil {
					t.Errorf("write: %v", err)
				}
				if flush {
					if err := c.flush(); err != nil {
						t.Errorf("flush: %v", err)
					}
				}
			}
		})
	}
	go func() {
		wg.Wait()
		_ = c.Close()
	}()
	all, err := io.ReadAll(peer)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[byte]int)
	for line := range bytes.Lines(all) {
		if len(bytes.TrimRight(line, "\n")) != 99 || bytes.Count(line, line[:1]) != 99 {
			t.Fatalf("writes were mixed: %q", line)
		}
		got[line[0]]++
	}
	for w := range writers {
		if got[byte('a'+w)] != writes {
			t.Errorf("writer %d: %d of %d writes arrived", w, got[byte('a'+w)], writes)
		}
	}
}

// A peer that stops reading costs the connection, and nobody waits longer than
// the timeout for it.
func TestConnGivesUpAPeerThatStopsReading(t *testing.T) {
	c, _ := pair(t, 100*time.Millisecond)
	block := make([]byte, 64<<10)
	var err error
	for i := 0; err == nil; i++ {
		if i > 10_000 {
			t.Fatalf("%d MiB were written to a peer that reads nothing", i/16)
		}
		_, err = c.Write(block)
	}
	c.cork()
	if err := c.flush(); err == nil {
		t.Errorf("flush says that everything was sent")
	}
	if _, err := c.Read(block); err == nil {
		t.Errorf("the reader does not notice")
	}
}

// Close sends what is still to be sent; abort does not wait for a peer that reads
// nothing.
func TestConnCloseSaysGoodbyeAndAbortDoesNot(t *testing.T) {
	c, peer := pair(t, time.Minute)
	if _, err := c.Write([]byte("goodbye")); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if all, _ := io.ReadAll(peer); string(all) != "goodbye" {
		t.Errorf("the peer has read %q", all)
	}
	if _, err := c.Write([]byte("more")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after Close: %v", err)
	}

	stuck, _ := pair(t, time.Minute)
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := stuck.Write(make([]byte, 1<<20)); err != nil {
				ended <- err
				return
			}
		}
	}()
	time.AfterFunc(50*time.Millisecond, stuck.abort)
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Errorf("a writer still waits 10 s after abort")
	}
}

// When flush returns the system has what was written, whoever sent it.
func TestConnFlushReturnsWhenAllIsSent(t *testing.T) {
	c, peer := pair(t, time.Second)
	for i := range 500 {
		c.cork()
		for range i%3 + 1 {
			if _, err := c.Write([]byte("frame;")); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.flush(); err != nil {
			t.Fatal(err)
		}
		c.mu.Lock()
		unsent := len(c.unsent)
		c.mu.Unlock()
		if unsent > 0 {
			t.Fatalf("%d bytes are unsent after flush", unsent)
		}
		if _, err := io.ReadFull(peer, make([]byte, 6*(i%3+1))); err != nil {
			t.Fatal(err)
		}
	}
}
