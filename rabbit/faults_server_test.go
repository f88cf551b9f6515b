package rabbit

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/internal/faultlab"
)

// faultServer is a server that the test may stop, kill and starve. Tests that use
// it run one after another.
func faultServer(t *testing.T) *faultlab.Server {
	t.Helper()
	name := os.Getenv("ANYQUEUE_FAULT_SERVER")
	if name == "" {
		name = "rabbitmq@faults"
	}
	return faultlab.Servers(t, name)
}

// ctl runs rabbitmqctl.
func ctl(t *testing.T, s *faultlab.Server, args ...string) {
	t.Helper()
	if out, err := s.Ctl(t.Context(), args...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// A broker that is restarted under load, in order and by kill -9, loses nothing
// that it has confirmed, and consumer and publishers go on when it is back.
func TestNothingIsLostWhenTheBrokerIsStoppedAndKilled(t *testing.T) {
	server := faultServer(t)
	f := newFlow(t, server.Env("URL"))
	f.start()
	down := map[string]func() error{
		"stop":    func() error { return server.Stop(t.Context()) },
		"kill -9": func() error { return server.Kill(t.Context()) },
	}
	for i, way := range []string{"stop", "kill -9"} {
		f.reach(float64(i+1) / 3)
		f.mayRepeat(1, way)
		before := f.sessionsSeen()
		f.during(func() {
			if err := down[way](); err != nil {
				t.Fatal(err)
			}
			if err := server.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			back := time.Now()
			f.await("a new session", func() bool { return f.sessionsSeen() > before })
			t.Logf("%s: messages came %s after the server answered again", way, time.Since(back).Round(time.Millisecond))
		})
	}
	f.finish()
	if f.trouble["disconnected"] == 0 {
		t.Error("no publisher has noticed")
	}
}

// A broker that answers nothing although its connections stand (frozen: a machine
// that swaps, a paused virtual machine) is left and found again.
func TestNothingIsLostWhenTheBrokerFreezes(t *testing.T) {
	server := faultServer(t)
	f := newFlow(t, server.Env("URL"), func(f *flow) { f.settings.Heartbeat = time.Second })
	f.start()
	f.reach(0.5)
	f.mayRepeat(1, "freeze")
	sessions := f.sessionsSeen()
	f.during(func() {
		if err := server.Freeze(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.await("health tells of it", func() bool { return !f.consumer.Health().Healthy })
		t.Log(f.consumer.Health())
		if err := server.Thaw(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	f.finish()
	if f.sessionsSeen() == sessions {
		t.Error("the session outlived the freeze, which heartbeats should have found")
	}
}

// While a memory alarm blocks publishers they wait, and fail with ErrFull when
// their time is over; handlers go on with what is there; what fails stays
// unacknowledged until its retry can be stored. When the alarm is over all goes on.
func TestMemoryAlarmBlocksPublishersAndNotHandlers(t *testing.T) {
	server := faultServer(t)
	f := newFlow(t, server.Env("URL"))
	restore := func() { // what scripts/servers has set
		if _, err := server.Ctl(context.WithoutCancel(t.Context()), "set_vm_memory_high_watermark", "absolute", "1500MB"); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(restore)
	f.start()
	f.reach(0.3)
	f.mayRepeat(2, "memory alarm: what was on its way is sent again")
	f.consumer.Pause()
	f.await("there is a backlog", func() bool { return f.sent.Load()-f.handled.Load() > flowAhead })
	ctl(t, server, "set_vm_memory_high_watermark", "0.0001")
	confirmed, began := f.sent.Load(), time.Now()
	f.consumer.Resume()
	f.await("the handlers have done what is there", func() bool {
		s := f.consumer.Stats()
		return s.Ready+s.Running == 0 && s.Settling > 0 && f.depths()[f.queue] == 0
	})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the handlers took %s", took)
	}
	f.await("publishing fails with ErrFull", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.trouble["full"] > 0
	})
	f.await("health tells of it", func() bool { return !f.consumer.Health().Healthy })
	t.Logf("%s; %s", f.consumer.Ledger(), f.consumer.Health())
	if n := f.sent.Load() - confirmed; n > flowPublishers*flowBatch {
		t.Errorf("%d messages were confirmed during the alarm", n)
	}
	restore()
	f.finish()
	if n := f.sessionsSeen(); n != 1 {
		t.Errorf("%d sessions: the alarm has cost the consumer its connection", n)
	}
}
