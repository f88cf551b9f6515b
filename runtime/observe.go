package runtime

import (
	"errors"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/telemetry"
)

// export lets telemetry read the ledger and the queue's stats.
func (c *Consumer) export() (unregister func() error, err error) {
	ledger, err1 := c.tel.Observe(c.snapshot)
	queue, err2 := c.tel.ObserveQueue(c.queue.get)
	return func() error {
		var errs []error
		for _, f := range []func() error{ledger, queue} {
			if f != nil {
				errs = append(errs, f())
			}
		}
		return errors.Join(errs...)
	}, errors.Join(err1, err2)
}

// snapshot is what the observable instruments export.
func (c *Consumer) snapshot() telemetry.Snapshot {
	status := c.telemetryStatus()
	f := c.flight
	f.mu.Lock()
	defer f.mu.Unlock()
	s := telemetry.Snapshot{
		Active:   int64(f.states[stateRunning]),
		Buffered: int64(f.states[stateReady] + f.states[stateBlocked]),
		Held:     int64(f.states[stateHeld]),
		Limit:    int64(f.workers.limit),
		Received: f.ledger.received,
		Acked:    f.ledger.settled[broker.Ack],
		Released: f.ledger.settled[broker.Release],
		Lost:     f.ledger.lost,
		Status:   status,
	}
	s.Retried = f.ledger.classes(broker.Retry)
	s.DeadLettered = f.ledger.classes(broker.DeadLetter)
	return s
}

// classes breaks the settlements of an action down by class. Lock held.
func (l *ledger) classes(a broker.Action) telemetry.ByClass {
	var by telemetry.ByClass
	for k, n := range l.byClass {
		if k.action == a {
			by[telemetry.ClassIndex(k.class)] += n
		}
	}
	return by
}

func (c *Consumer) telemetryStatus() string {
	switch c.phase.Load() {
	case phaseDraining:
		return telemetry.StatusDraining
	case phaseRunning:
	default:
		return ""
	}
	now := c.now()
	c.health.mu.Lock()
	_, disconnected := c.health.disconnected(now)
	c.health.mu.Unlock()
	switch {
	case disconnected != nil:
		return telemetry.StatusDisconnected
	case c.pause.on():
		return telemetry.StatusPaused
	default:
		return telemetry.StatusRunning
	}
}
