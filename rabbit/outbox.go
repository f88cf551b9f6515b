package rabbit

import (
	"context"
	"fmt"
	"sync"

	"github.com/anyqueue/anyqueue/broker"
)

// outbox is a connection for publishing with its lanes. A publisher has one, and
// a subscription, for the copies that retries and dead letters are; those of an
// endpoint share it.
type outbox struct {
	link *link
	max  int // Settings.MaxMessageBytes
	stop context.CancelFunc
	gone chan struct{} // closed when the link has ended

	mu     sync.Mutex
	owners int
	on     *connection // what lanes belong to
	lanes  map[string]*lane
	// opening has those lanes of on that are being opened.
	opening map[string]*opening
}

// openOutbox makes the first connection. The caller is its owner.
func openOutbox(ctx context.Context, role string, d *dialer, s *Settings) (*outbox, error) {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	o := &outbox{
		link: newLink(role, d, s.Logger),
		max:  s.MaxMessageBytes, stop: stop, gone: make(chan struct{}), owners: 1,
	}
	go func() {
		defer close(o.gone)
		o.link.run(life, o.serve)
	}()
	if err := o.link.first(ctx, s.ConnectTimeout); err != nil {
		o.release()
		return nil, err
	}
	return o, nil
}

// share adds an owner.
func (o *outbox) share() *outbox {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.owners++
	return o
}

// release gives up ownership. The last owner closes the connection, which takes a
// moment at most.
func (o *outbox) release() {
	o.mu.Lock()
	o.owners--
	last := o.owners == 0
	o.mu.Unlock()
	if last {
		o.stop()
		<-o.gone
	}
}

// serve keeps a connection for publishing until it ends. Lanes are opened when
// they are needed.
func (o *outbox) serve(ctx context.Context, w *connection) error {
	o.link.serving(w)
	select {
	case <-w.done:
	case <-ctx.Done():
	}
	return w.ended()
}

// renew gives up the connection for another one.
func (o *outbox) renew() {
	if w := o.link.state().live; w != nil {
		w.raw.abort()
	}
}

// hurry sends copies of deliveries. It does not wait for the end of an alarm, as
// publishers do: a few of them would hold up all the acknowledgements behind them,
// and the originals are safe where they are.
func (o *outbox) hurry(ctx context.Context, parcels []*parcel) {
	if w := o.link.state().live; w != nil {
		taking, done := w.whileTaking(ctx)
		defer done()
		ctx = taking
	}
	o.send(ctx, parcels)
}

// send publishes parcels that have no error yet, in order within each exchange.
func (o *outbox) send(ctx context.Context, parcels []*parcel) {
	fit := parcels[:0:0]
	for _, c := range parcels {
		if c.err == nil && len(c.Body) > o.max {
			c.err = fmt.Errorf("its body has %d bytes, max_message_bytes is %d: %w", len(c.Body), o.max, broker.ErrTooLarge)
		}
		if c.err == nil {
			fit = append(fit, c)
		}
	}
	for len(fit) > 0 { // one round for each exchange
		exchange, rest := fit[0].exchange, fit[:0:0]
		same := fit[:0]
		for _, c := range fit {
			if c.exchange == exchange {
				same = append(same, c)
			} else {
				rest = append(rest, c)
			}
		}
		l, err := o.lane(ctx, exchange)
		if err != nil {
			fail(same, err)
		} else {
			l.publish(ctx, same)
		}
		fit = rest
	}
}

func fail(parcels []*parcel, err error) {
	for _, c := range parcels {
		if c.err == nil {
			c.err = err
		}
	}
}

// maxLanes bounds the channels that are open at once: one for each exchange that
// was published to, the default exchange (queues) not counted.
const maxLanes = 64

// lane returns the open channel for an exchange.
func (o *outbox) lane(ctx context.Context, exchange string) (*lane, error) {
	w, err := o.link.get(ctx)
	if err != nil {
		return nil, err
	}
	// A broker that blocks publishers does not answer on their connection.
	if err := w.unblocked(ctx); err != nil {
		return nil, err
	}
	o.mu.Lock()
	if o.on != w {
		o.on, o.lanes = w, make(map[string]*lane)
		o.opening = make(map[string]*opening)
	}
	if l := o.lanes[exchange]; l != nil && l.alive() {
		o.mu.Unlock()
		return l, nil
	}
	op := o.opening[exchange]
	if op == nil {
		op = &opening{done: make(chan struct{})}
		o.opening[exchange] = op
		go o.open(context.WithoutCancel(ctx), w, exchange, op)
	}
	o.mu.Unlock()
	select {
	case <-op.done:
		return op.lane, op.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// opening is a channel that is being opened, for all who wait for it: none of
// them can end the exchange but with the whole connection.
type opening struct {
	done chan struct{} // closed when lane or err is set
	lane *lane
	err  error
}

// open opens a lane. It ends with the connection at the latest.
func (o *outbox) open(ctx context.Context, w *connection, exchange string, op *opening) {
	limited, done := context.WithTimeout(ctx, setUp)
	defer done()
	err := w.within(limited, func() (err error) {
		op.lane, err = openLane(w)
		return err
	})
	if err != nil {
		op.lane, op.err = nil, disconnected(fmt.Errorf("open a channel: %w", err))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	defer close(op.done)
	if o.on != w {
		return // nobody will use it: its connection has been given up
	}
	delete(o.opening, exchange)
	if op.err == nil {
		if len(o.lanes) > maxLanes {
			o.dropLane()
		}
		o.lanes[exchange] = op.lane
	}
}

// dropLane closes a lane that nobody uses at the moment. Lock held.
func (o *outbox) dropLane() {
	for exchange, l := range o.lanes {
		if exchange != "" && len(l.slots) == 0 {
			delete(o.lanes, exchange)
			go l.ch.Close() //nolint:errcheck // it is of no use any more, and ends with the connection
			return
		}
	}
}
