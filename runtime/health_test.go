package runtime_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/runtime"
)

func (x *worker) wantHealth(healthy bool, reason string) {
	x.w.Helper()
	h := x.Health()
	if h.Healthy != healthy || !strings.Contains(h.String(), reason) {
		x.w.Errorf("health: %s; want healthy %v with %q", h, healthy, reason)
	}
}

// Healthy means that work is done, not that a connection is open: with the broker
// gone for StallAfter it is unhealthy, and healthy again with it.
func TestHealthTurnsBadWhileTheBrokerIsGone(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		sub := w.subscribe(memory.SubscribeOptions{})
		x := w.runOn(sub, func(context.Context, *broker.Delivery) error { return nil }, runtime.Options{StallAfter: time.Minute})
		settleDown(time.Hour)
		x.wantHealth(true, "running") // idle is healthy
		sub.Disconnect()
		settleDown(50 * time.Second)
		x.wantHealth(true, "running")
		settleDown(20 * time.Second)
		x.wantHealth(false, "the broker gives nothing")
		sub.Reconnect()
		settleDown(20 * time.Second)
		x.wantHealth(true, "running") // although nothing has arrived: an idle queue is no lost broker
		if err := x.shutdown(); err != nil {
			t.Error(err)
		}
		x.wantHealth(false, "stopped")
	})
}

// A consumer whose workers all ignore their cancellation is unhealthy; one whose
// handlers are merely slow is not.
func TestHealthTellsStuckHandlersFromSlowOnes(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		free := make(chan struct{})
		x := w.run(func(context.Context, *broker.Delivery) error {
			<-free
			return errors.New("too late")
		}, runtime.Options{Concurrency: 2, Timeout: 10 * time.Minute, StallAfter: time.Minute})
		w.publish(body("a"), body("b"), body("c"))
		settleDown(9 * time.Minute)
		x.wantHealth(true, "running")
		settleDown(3 * time.Minute)
		x.wantHealth(false, "ignore their cancellation")
		close(free)
		settleDown(10 * time.Minute)
		x.wantHealth(true, "running")
	})
}

// The broker says that messages are ready, workers are free, and nothing arrives:
// that is no health, although no call fails.
func TestHealthTurnsBadWhenTheBrokerHasWorkAndNothingArrives(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		sub := &deaf{Subscription: w.subscribe(memory.SubscribeOptions{})}
		x := w.runOn(sub, func(context.Context, *broker.Delivery) error { return nil },
			runtime.Options{StallAfter: time.Minute, StatsEvery: 10 * time.Second})
		w.publish(body("a"))
		settleDown(50 * time.Second)
		x.wantHealth(true, "running")
		settleDown(time.Minute)
		x.wantHealth(false, "nothing has arrived")
	})
}

// deaf never receives anything.
type deaf struct{ broker.Subscription }

func (d *deaf) Receive(ctx context.Context, _ broker.Credit) ([]broker.Delivery, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// The HTTP handler answers 200 or 503 with the report as JSON.
func TestHealthHandlerServesTheReport(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		x := w.run(func(context.Context, *broker.Delivery) error { return nil }, runtime.Options{})
		w.publish(body("a"))
		settleDown(time.Second)
		get := func() (int, runtime.Health) {
			r := httptest.NewRecorder()
			x.HealthHandler().ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/healthz", nil))
			var h runtime.Health
			if err := json.Unmarshal(r.Body.Bytes(), &h); err != nil {
				t.Fatalf("%v in %s", err, r.Body)
			}
			return r.Code, h
		}
		if code, h := get(); code != http.StatusOK || !h.Healthy || h.Stats.Ledger.Acked != 1 {
			t.Errorf("%d %+v", code, h)
		}
		if err := x.shutdown(); err != nil {
			t.Error(err)
		}
		if code, h := get(); code != http.StatusServiceUnavailable || h.Healthy {
			t.Errorf("%d %+v", code, h)
		}
	})
}

// Other messages being settled do not hide that some cannot be.
func TestHealthTellsOfUnsettledOutcomesWhileOthersAreSettled(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		refuse := memory.When(func(op memory.Op) bool { return op.Settlement.Action == broker.DeadLetter },
			memory.Always(memory.Fail(broker.ErrFull)))
		if err := w.broker.Inject(w.queue, memory.Faults{Settle: refuse}); err != nil {
			t.Fatal(err)
		}
		x := w.run(func(_ context.Context, d *broker.Delivery) error {
			if string(d.Body) == "bad" {
				return failure.Data(errors.New("hopeless"))
			}
			return nil
		}, runtime.Options{StallAfter: time.Minute})
		w.publish(body("bad"), body("bad"))
		for range 120 {
			w.publish(body("good"))
			settleDown(time.Second)
		}
		x.wantHealth(false, "2 outcomes cannot be settled")
	})
}

// A batch that is being gathered, as it was configured, is no stall.
func TestHealthDoesNotTakeGatheringABatchForAStall(t *testing.T) {
	inWorld(t, memory.Queue{}, func(w *world) {
		x := w.runBatch(func(context.Context, []*broker.Delivery) error { return nil },
			runtime.Options{BatchWait: 5 * time.Minute, StallAfter: time.Minute})
		settleDown(2 * time.Minute)
		w.publish(body("a"))
		settleDown(4 * time.Minute)
		x.wantHealth(true, "running")
		settleDown(2 * time.Minute)
		x.wantLedger(runtime.Ledger{Acked: 1})
	})
}
