package faultlab

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A proxy that is left alone passes everything on, both ways, and counts it.
func TestProxyPassesEverything(t *testing.T) {
	b := newLab(t)
	c := b.dial()
	c.echoes("hello")
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB: more than all buffers
	go c.Write(big)
	got := make([]byte, len(big))
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, big) {
		t.Fatalf("4 MiB came back changed, or %v", err)
	}
	want := int64(len("hello") + len(big))
	if up, down, both := b.Bytes(ToServer), b.Bytes(ToClient), b.Bytes(Both); up != want || down != want || both != 2*want {
		t.Errorf("counted %d to the server, %d to the client, %d in all; want %d each way", up, down, both, want)
	}
	if n := b.Connections(); n != 1 {
		t.Errorf("%d connections are open, want 1", n)
	}
}

// An end of file passes alone: the other direction stays open until its own.
func TestEndOfFileKeepsTheOtherDirectionOpen(t *testing.T) {
	b := newLab(t)
	b.Delay(ToClient, 20*time.Millisecond)
	c := b.dial()
	c.send("last words")
	noError(t, c.Conn.(*net.TCPConn).CloseWrite())
	if rest, err := c.ends(); err != nil || rest != "last words" {
		t.Errorf("read %q and %v, want the echo and an end of file", rest, err)
	}
	eventually(t, "the connection is forgotten", func() bool { return b.Connections() == 0 })
}

// Cut resets both ends of every connection; the next one succeeds.
func TestCutResetsBothEnds(t *testing.T) {
	b := newLab(t)
	c1, c2 := b.dial(), b.dial()
	c1.echoes("one")
	c2.echoes("two")
	b.Cut()
	if n := b.Connections(); n != 0 {
		t.Errorf("%d connections are open after Cut, want 0", n)
	}
	c1.wantsReset()
	c2.wantsReset()
	eventually(t, "the server sees the end of two", func() bool { return b.served() == 2 })
	for _, err := range b.endings() {
		if err == nil {
			t.Errorf("the server read an end of file, want a reset")
		}
	}
	b.dial().echoes("three")
	if n := b.Accepted(); n != 3 {
		t.Errorf("%d connections in all, want 3", n)
	}
}

// HangUp ends connections without a reset.
func TestHangUpIsAnEndOfFile(t *testing.T) {
	b := newLab(t)
	c := b.dial()
	c.echoes("one")
	b.HangUp()
	if rest, err := c.ends(); err != nil || rest != "" {
		t.Errorf("read %q and %v, want an end of file", rest, err)
	}
	eventually(t, "the server sees the end", func() bool { return b.served() == 1 })
	if err := b.endings()[0]; err != nil {
		t.Errorf("the server's connection ended with %v, want an end of file", err)
	}
	b.dial().echoes("two")
}

// A peer that dies by a reset is reset on the other side as well.
func TestResetOfOneSideReachesTheOther(t *testing.T) {
	b := newLab(t)
	c := b.dial()
	c.echoes("one")
	drop(c.Conn, true)
	eventually(t, "the server sees the end", func() bool { return b.served() == 1 })
	if b.endings()[0] == nil {
		t.Errorf("the server read an end of file, want a reset")
	}
}

// CutAfter lets exactly n bytes pass and then cuts, in the middle of whatever it is.
func TestCutAfterCutsAtTheByte(t *testing.T) {
	for _, n := range []int{0, 1, 7} {
		b := newLab(t)
		c := b.dial()
		c.echoes("before")
		done := b.CutAfter(ToClient, n)
		before := b.Bytes(ToClient)
		c.send("01234567")
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatalf("no cut after %d bytes", n)
		}
		if passed := b.Bytes(ToClient) - before; passed != int64(n) {
			t.Errorf("%d bytes passed, want %d", passed, n)
		}
		rest, err := c.ends()
		if !strings.HasPrefix("01234567"[:n], rest) || err == nil {
			t.Errorf("read %q and %v, want no more than %d bytes and a reset", rest, err, n)
		}
		b.dial().echoes("the limit is used up: more than n bytes pass")
	}
}

// A limit that is reached exactly does not cut yet.
func TestCutAfterWaitsForTheNextByte(t *testing.T) {
	b := newLab(t)
	c := b.dial()
	done := b.CutAfter(ToServer, 4)
	c.echoes("1234")
	select {
	case <-done:
		t.Fatal("cut after 4 bytes although no fifth came")
	case <-time.After(20 * time.Millisecond):
	}
	c.send("5")
	<-done
	c.wantsReset()
}

// While refusing, a dial is refused and open connections live; afterwards the same
// address answers.
func TestRefuseRefusesNewConnectionsOnly(t *testing.T) {
	b := newLab(t)
	c := b.dial()
	c.echoes("one")
	for range 3 {
		noError(t, b.Refuse(true))
		noError(t, b.Refuse(true)) // again is no error
		if c, err := net.Dial("tcp", b.Addr()); err == nil {
			c.Close()
			t.Fatal("a dial succeeded while the proxy refuses")
		} else if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.Errno(10061)) {
			t.Fatalf("dial: %v, want a refusal", err)
		}
		c.echoes("two")
		noError(t, b.Refuse(false))
		noError(t, b.Refuse(false))
		b.dial().echoes("three")
	}
	noError(t, b.Refuse(true)) // closing while refusing is fine
}

// A stall holds back one direction, or both, with the sockets open; after Resume
// everything arrives in order.
func TestStallHoldsBackAndResumeReleases(t *testing.T) {
	for _, d := range []Direction{ToServer, ToClient, Both} {
		b := newLab(t)
		c := b.dial()
		c.echoes("one")
		up := b.Bytes(ToServer)
		b.Stall(d)
		c.send("two")
		c.hearsNothing()
		if reached := b.Bytes(ToServer) > up; reached != (d == ToClient) {
			t.Errorf("stall %v: reached the server: %v", d, reached)
		}
		later := b.dial() // stalls as well
		later.send("three")
		later.hearsNothing()
		b.Resume()
		c.wants("two")
		later.wants("three")
		c.echoes("four")
	}
}

// StallPresent leaves later connections alone.
func TestStallPresentSparesNewConnections(t *testing.T) {
	b := newLab(t)
	c := b.dial()
	c.echoes("one")
	b.StallPresent(Both)
	c.send("two")
	c.hearsNothing()
	b.dial().echoes("three")
	b.Resume()
	c.wants("two")
}

// A stalled connection is half open: the server does not learn that the client
// has died, until the stall is lifted.
func TestStallHidesTheDeathOfAPeer(t *testing.T) {
	for _, reset := range []bool{false, true} {
		b := newLab(t)
		c := b.dial()
		c.echoes("one")
		b.Stall(ToServer)
		drop(c.Conn, reset)
		time.Sleep(30 * time.Millisecond)
		if b.served() != 0 || b.Connections() != 1 {
			t.Errorf("the server has seen the end of %d, %d are open; want 0 and 1", b.served(), b.Connections())
		}
		b.Resume()
		eventually(t, "the server sees the end", func() bool { return b.served() == 1 })
	}
}

// A stalled direction fills up and then resists the sender, and Cut frees what
// blocks in it.
func TestStallPushesBackAndCutFreesIt(t *testing.T) {
	b := newLab(t)
	c := b.dial()
	b.Stall(ToServer)
	var sent int
	chunk := make([]byte, 1<<20)
	for range 256 {
		c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := c.Write(chunk)
		sent += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			b.Cut()
			c.wantsReset()
			return
		}
		noError(t, err)
	}
	t.Fatalf("%d bytes went into a stalled connection", sent)
}

// A delay is latency: what is sent in a row arrives in a row, once later.
func TestDelayIsLatencyAndNotBandwidth(t *testing.T) {
	const d = 60 * time.Millisecond
	b := newLab(t)
	c := b.dial()
	c.echoes("one")
	b.Delay(ToServer, d)
	begin := time.Now()
	for range 20 {
		c.send("x")
		time.Sleep(time.Millisecond)
	}
	c.wants(strings.Repeat("x", 20))
	if took := time.Since(begin); took < d || took > 10*d {
		t.Errorf("20 bytes took %v, want about %v", took, d)
	}
	b.Delay(Both, 0)
	c.echoes("two")
}

// Corrupt inverts as many bytes as asked and no more.
func TestCorruptInvertsTheNextBytes(t *testing.T) {
	b := newLab(t)
	c := b.dial()
	c.echoes("one")
	b.Corrupt(ToClient, 2)
	c.send("abcd")
	c.wants(string([]byte{^byte('a'), ^byte('b'), 'c', 'd'}))
	c.echoes("two")
}

// A black hole accepts and answers nothing; the server hears nothing of it, and
// connections from before are served.
func TestBlackholeAcceptsAndNeverForwards(t *testing.T) {
	b := newLab(t)
	c := b.dial()
	c.echoes("one")
	b.Blackhole(true)
	lost := b.dial()
	lost.send("anyone?")
	lost.hearsNothing()
	c.echoes("two")
	b.Blackhole(false)
	b.dial().echoes("three")
	lost.hearsNothing()
	b.Cut()
	lost.wantsReset()
}

// A hook sees every piece with the number of its connection, and what it returns
// is sent in its place.
func TestHookAltersAndDrops(t *testing.T) {
	b := newLab(t)
	b.Frames(ToServer, bufio.ScanLines)
	c1, c2 := b.dial(), b.dial()
	c1.echoes("one\n")
	c2.echoes("one\n")
	b.Intercept(ToServer, func(conn int, line []byte) ([]byte, Action) {
		switch string(line) {
		case "drop\n":
			return nil, Forward
		case "who\n":
			return []byte{byte('0' + conn), '\n'}, Forward
		}
		return line, Forward
	})
	c1.send("drop\nwho\nwho\nstay\n")
	c1.wants("1\n1\nstay\n")
	c2.send("who\n")
	c2.wants("2\n")
	b.Intercept(ToServer, nil)
	c1.echoes("drop\n")
}

// With Frames a hook sees whole frames however they arrive, and what is
// incomplete at the end of the stream passes unseen.
func TestFramesAreWhole(t *testing.T) {
	b := newLab(t)
	var mu sync.Mutex
	var seen []string
	b.Frames(ToServer, bufio.ScanLines)
	b.Intercept(ToServer, func(_ int, line []byte) ([]byte, Action) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, string(line))
		return line, Forward
	})
	c := b.dial()
	c.send("first ")
	c.hearsNothing() // half a frame waits for the other
	c.send("half\nsecond\nthi")
	c.wants("first half\nsecond\n")
	noError(t, c.Conn.(*net.TCPConn).CloseWrite())
	if rest, err := c.ends(); err != nil || rest != "thi" {
		t.Errorf("read %q and %v, want the incomplete frame and an end of file", rest, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(seen, "|"); got != "first half\n|second\n" {
		t.Errorf("the hook saw %q", got)
	}
}

// A hook can cut its connection, before or after what it sends on, and only that.
func TestHookResetsItsConnection(t *testing.T) {
	b := newLab(t)
	b.Intercept(ToServer, func(_ int, data []byte) ([]byte, Action) {
		if string(data) == "cut" {
			return nil, Reset
		}
		return data, Forward
	})
	c, other := b.dial(), b.dial()
	c.echoes("one")
	c.send("cut")
	c.wantsReset()
	other.echoes("two")
}

// A hook can use the controls: here the frame after the one it waits for is held
// back.
func TestHookStallsBetweenFrames(t *testing.T) {
	b := newLab(t)
	b.Frames(ToServer, bufio.ScanLines)
	b.Intercept(ToServer, func(_ int, line []byte) ([]byte, Action) {
		if string(line) == "stop\n" {
			b.Stall(ToServer)
		}
		return line, Forward
	})
	c := b.dial()
	c.send("stop\nnext\n")
	c.wants("stop\n")
	c.hearsNothing()
	b.Resume()
	c.wants("next\n")
}

// A stream that cannot be split is cut, and Close says why.
func TestUnsplittableStreamIsReported(t *testing.T) {
	garbage := errors.New("garbage")
	b := newLab(t)
	p, err := NewProxy(b.Addr())
	noError(t, err)
	p.Frames(ToServer, func([]byte, bool) (int, []byte, error) { return 0, nil, garbage })
	conn, err := net.Dial("tcp", p.Addr())
	noError(t, err)
	defer conn.Close()
	c := &client{t, conn}
	c.send("x")
	c.wantsReset()
	if err := p.Close(); !errors.Is(err, garbage) || !strings.Contains(err.Error(), "connection 1, to server") {
		t.Errorf("Close returned %v", err)
	}
	if err := p.Refuse(false); err == nil {
		t.Error("a closed proxy listens again")
	}
}

// While the server is down a client is accepted and reset.
func TestServerThatIsDownIsAReset(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	l.Close()
	p, err := NewProxy(l.Addr().String())
	noError(t, err)
	defer p.Close()
	conn, err := net.Dial("tcp", p.Addr())
	if errors.Is(err, syscall.ECONNRESET) || isWindowsReset(err) {
		return // the proxy was faster than the client's dial
	}
	noError(t, err)
	defer conn.Close()
	(&client{t, conn}).wantsReset()
}

// A target without a port is refused with its name.
func TestTargetWithoutPortIsRefused(t *testing.T) {
	if _, err := NewProxy("localhost"); err == nil || !strings.Contains(err.Error(), `"localhost"`) {
		t.Errorf("NewProxy returned %v", err)
	}
}

// Every control may be used at any time, while connections come, work and go;
// afterwards the proxy works as new.
func TestControlsAreSafeUnderLoad(t *testing.T) {
	b := newLab(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := net.Dial("tcp", b.Addr())
				if err != nil {
					time.Sleep(time.Millisecond)
					continue
				}
				for range 20 {
					c.SetDeadline(time.Now().Add(20 * time.Millisecond))
					var buf [8]byte
					if _, err := c.Write([]byte("12345678")); err != nil {
						break
					}
					if _, err := io.ReadFull(c, buf[:]); err != nil {
						break
					}
				}
				c.Close()
			}
		})
	}
	for _, control := range []func(){
		b.Cut,
		b.HangUp,
		b.Resume,
		func() { b.Refuse(true); b.Refuse(false) },
		func() { b.Stall(Both) },
		func() { b.StallPresent(ToClient) },
		func() { b.CutAfter(ToServer, 100) },
		func() { b.Corrupt(Both, 3) },
		func() { b.Delay(Both, time.Millisecond) },
		func() { b.Blackhole(true); b.Blackhole(false) },
		func() { b.Frames(Both, bufio.ScanBytes) },
		func() { b.Intercept(Both, func(_ int, p []byte) ([]byte, Action) { return p, Forward }) },
		func() { b.Bytes(Both); b.Connections(); b.Accepted() },
	} {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(2 * time.Millisecond):
					control()
				}
			}
		})
	}
	time.Sleep(400 * time.Millisecond)
	close(stop)
	wg.Wait()
	b.Resume()
	b.Corrupt(Both, 0)
	b.CutAfter(ToServer, 1<<30)
	noError(t, b.Refuse(false))
	b.dial().echoes("as new")
}
