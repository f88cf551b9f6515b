package rabbit

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/internal/faultlab"
)

// A network that cuts every connection again and again costs nothing but repeated
// deliveries of what was under way.
func TestNothingIsLostWhenConnectionsAreCutAgainAndAgain(t *testing.T) {
	t.Parallel()
	const cuts = 8
	f := newFlow(t, faultlab.Need(t, lines["3"]))
	f.start()
	for i := range cuts {
		f.reach(float64(i+1) / (cuts + 1))
		f.mayRepeat(1, "cut")
		f.proxy.Cut()
	}
	f.finish()
	if n := f.sessionsSeen(); n <= cuts {
		t.Errorf("%d sessions after %d cuts", n, cuts)
	}
}

// A half-open connection, whose other side is gone without a word, is found by
// heartbeats, and a new one takes its place.
func TestStalledConnectionIsFoundByHeartbeats(t *testing.T) {
	t.Parallel()
	f := newFlow(t, faultlab.Need(t, lines["3"]), func(f *flow) { f.settings.Heartbeat = time.Second })
	f.start()
	for i, way := range []faultlab.Direction{faultlab.Both, faultlab.ToClient} {
		f.reach(float64(i+1) / 3)
		f.mayRepeat(1, "stall "+way.String())
		before := f.sessionsSeen()
		began := time.Now()
		f.proxy.StallPresent(way)
		f.await("a new session", func() bool { return f.sessionsSeen() > before })
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("with a heartbeat of 1 s the stall %s was found after %s", way, took)
		}
	}
	f.finish()
	f.proxy.Cut() // what is stalled for ever
}

// A connection on which only our side is unheard is ended by the server's
// heartbeats, and a stall that passes before that costs nothing.
func TestPassingStallCostsNothing(t *testing.T) {
	t.Parallel()
	f := newFlow(t, faultlab.Need(t, lines["3"]))
	f.start()
	for _, part := range []float64{0.3, 0.6} {
		f.reach(part)
		f.proxy.Stall(faultlab.Both)
		time.Sleep(time.Second)
		f.proxy.Resume()
	}
	f.finish()
	if n := f.sessionsSeen(); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

// A slow network makes everything slower and breaks nothing.
func TestLatencyRepeatsNothing(t *testing.T) {
	t.Parallel()
	f := newFlow(t, faultlab.Need(t, lines["3"]))
	f.start()
	f.reach(0.2)
	f.proxy.Delay(faultlab.Both, 20*time.Millisecond)
	f.reach(0.4)
	f.proxy.Delay(faultlab.Both, 0)
	f.finish()
	if n := f.sessionsSeen(); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

// A frame that is no frame, on the way to the server or from it, ends that
// connection alone.
func TestCorruptFrameEndsItsConnectionAlone(t *testing.T) {
	t.Parallel()
	f := newFlow(t, faultlab.Need(t, lines["3"]))
	f.proxy.Frames(faultlab.ToClient, splitFrames)
	f.start()
	faults := []struct {
		what   string
		way    faultlab.Direction
		method uint16 // of class basic
	}{
		{"a publication", faultlab.ToServer, 40},
		{"a delivery", faultlab.ToClient, 60},
		{"a confirmation", faultlab.ToClient, 80},
		{"an acknowledgement", faultlab.ToServer, 80},
	}
	for i, c := range faults {
		f.reach(float64(i+1) / float64(len(faults)+1))
		f.mayRepeat(1, "corrupted "+c.what)
		accepted := f.proxy.Accepted()
		var once atomic.Bool
		f.proxy.Intercept(c.way, func(_ int, frame []byte) ([]byte, faultlab.Action) {
			if isMethod(frame, 60, c.method) && once.CompareAndSwap(false, true) {
				// Its first byte, which says of which kind it is: further inside AMQP has nothing
				// that would show a fault.
				return append([]byte{^frame[0]}, frame[1:]...), faultlab.Forward
			}
			return frame, faultlab.Forward
		})
		f.await("a new connection", func() bool { return f.proxy.Accepted() > accepted })
	}
	f.finish()
	if n := f.sessionsSeen(); n < 3 {
		t.Errorf("%d sessions although two frames of the consumer were corrupted", n)
	}
}
