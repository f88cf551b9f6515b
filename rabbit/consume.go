package rabbit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
)

const (
	// setUp is how long declaring and starting to consume may take.
	setUp = 30 * time.Second
	// unasked is how long messages may wait here although nobody asks for them:
	// then they are given back, for others.
	unasked = 5 * time.Second
	// look is how often the consuming goroutine looks for such messages.
	look = time.Second
	// slab is how many deliveries share an allocation.
	slab = 32
)

// serve consumes over one connection until that ends, the consumer is cancelled,
// or ctx ends.
func (s *Subscription) serve(ctx context.Context, w *connection) error {
	c := &consumption{sub: s, w: w, batch: make([]*leased, 0, slab)}
	setting, done := context.WithTimeout(ctx, setUp)
	err := w.within(setting, c.open)
	done()
	if err != nil {
		return fmt.Errorf("rabbitmq: consume %q: %w", s.plan.queue, err)
	}
	s.begin(c.session, w)
	err = c.run(ctx)
	s.end(c.session, err)
	return err
}

// begin makes a session the one to receive from.
func (s *Subscription) begin(session *session, w *connection) {
	s.mu.Lock()
	s.current = session
	s.window.parked = true
	if s.plan.attempts == deliveriesAreAttempts {
		s.gates = make(gates)
	}
	s.mu.Unlock()
	s.link.serving(w)
}

// end loses everything that lives on a session.
func (s *Subscription) end(session *session, cause error) {
	s.mu.Lock()
	if s.closed {
		cause = broker.ErrClosed
	}
	s.current = nil
	s.drop(len(s.buffer)) // the broker puts them back
	s.mu.Unlock()
	session.End(cause)
}

// consumption is what one goroutine does with one channel.
type consumption struct {
	sub     *Subscription
	w       *connection
	session *session
	closed  <-chan *amqp.Error
	cancels <-chan string

	consumers  int    // how many were started on this channel; names the next
	tag        string // of the running consumer; "" while there is none
	deliveries <-chan amqp.Delivery
	slab       []leased
	batch      []*leased // memory of take
}

// open declares what is to be declared, opens the channel, and looks for the queue.
func (c *consumption) open() error {
	if err := c.sub.plan.topology.ensure(c.w.Channel); err != nil {
		return err
	}
	ch, err := c.w.Channel()
	if err != nil {
		return classify(err)
	}
	c.session = &session{w: c.w, Session: broker.NewSession(fmt.Sprintf("channel of %q", c.sub.plan.queue)), ch: ch}
	c.closed = ch.NotifyClose(make(chan *amqp.Error, 1))
	c.cancels = ch.NotifyCancel(make(chan string, 16)) // one for each consumer that crosses a cancel of ours
	// It consumes when Receive is called first: who only publishes, or looks, takes
	// nothing from others, and is not the active consumer of an ordered queue.
	if _, err := depth(ch, c.sub.plan.queue); err != nil {
		return c.why(err)
	}
	return nil
}

// consume starts a consumer with the window of the moment.
func (c *consumption) consume() error {
	c.sub.mu.Lock()
	prefetch := c.sub.window.prefetch()
	c.sub.mu.Unlock()
	if err := c.session.ch.Qos(prefetch, 0, false); err != nil {
		return c.why(err)
	}
	c.consumers++
	tag := fmt.Sprintf("anyqueue-%d", c.consumers)
	c.session.begin()
	deliveries, err := c.session.ch.Consume(c.sub.plan.queue, tag, false, false, false, false, nil)
	if err != nil {
		return c.why(err)
	}
	c.tag, c.deliveries = tag, deliveries
	return nil
}

// why prefers what the broker said to what the client makes of it.
func (c *consumption) why(err error) error {
	if _, told := errors.AsType[*amqp.Error](err); !told || errors.Is(err, amqp.ErrClosed) {
		select {
		case e, ok := <-c.closed:
			if ok {
				err = e
			}
		default:
		}
	}
	return classify(err)
}

// run takes what arrives until the consumer ends.
func (c *consumption) run(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case d, ok := <-c.deliveries:
			if !ok {
				return c.over()
			}
			c.take(d)
		case <-c.sub.asked:
			if err := c.attend(ctx); err != nil {
				return err
			}
		case <-tick.C:
			if err := c.giveBack(ctx); err != nil {
				return err
			}
		case err := <-c.closed:
			return ended(err)
		case <-ctx.Done():
			c.leave(context.WithoutCancel(ctx))
			return broker.ErrClosed
		}
	}
}

// leave makes sure that the queue has taken the last acknowledgements before the
// channel is closed: a server that is behind with those of a quorum queue forgets
// them with the channel, and delivers the messages again. The answer to a cancel
// comes after them. An ordered consumer stays the active one until its channel is
// gone, or its successor would be given messages ahead of those that go back; it
// asks for something without effect instead, which does for the few that it has
// under way.
func (c *consumption) leave(ctx context.Context) {
	limited, done := context.WithTimeout(ctx, farewell)
	defer done()
	_ = c.w.within(limited, func() error { // the session ends in any case
		s := c.sub
		if s.plan.attempts == deliveriesAreAttempts {
			return c.session.ch.Qos(1, 0, false)
		}
		if err := c.cancel(); err != nil {
			return err
		}
		s.mu.Lock()
		back := append([]*leased(nil), s.buffer...)
		s.drop(len(s.buffer))
		s.mu.Unlock()
		return c.restore(limited, back)
	})
}

// ended is why a channel closed. The client tells nothing when it was closed from
// this side, or together with the connection by a Close of ours.
func ended(err *amqp.Error) error {
	if err == nil {
		return disconnected(errors.New("the channel was closed"))
	}
	if err.Code == amqp.PreconditionFailed && strings.Contains(err.Reason, "timeout") { // told by the text alone
		return disconnected(fmt.Errorf("%w; set ack_timeout to no more than the server's consumer_timeout", classify(err)))
	}
	return disconnected(classify(err))
}

// take puts a delivery, and all that have come with it, into the buffer.
func (c *consumption) take(d amqp.Delivery) {
	now := time.Now()
	batch := c.batch[:0]
	batch = append(batch, c.lease(d, now))
	for len(batch) < cap(batch) {
		select {
		case d, ok := <-c.deliveries:
			if ok {
				batch = append(batch, c.lease(d, now))
				continue
			}
		default:
		}
		break
	}
	c.session.delivered(batch)
	s := c.sub
	s.mu.Lock()
	for _, l := range batch {
		s.buffer = s.gates.pass(s.buffer, l)
	}
	some := len(s.buffer) > 0
	s.mu.Unlock()
	clear(batch)
	if some {
		notify(s.arrived)
	}
}

// lease keeps a delivery. Its place is in a slab, which spares an allocation for
// each; a slab lives until its last delivery is settled.
func (c *consumption) lease(d amqp.Delivery, now time.Time) *leased {
	if len(c.slab) == 0 {
		c.slab = make([]leased, slab)
	}
	l := &c.slab[0]
	c.slab = c.slab[1:]
	l.on, l.arrived, l.at, l.native = c.session, now, d.DeliveryTag, d
	l.native.Acknowledger = nil
	return l
}

// over says why deliveries have ended. The client tells of the end of a channel
// before it ends them, and closes the channel of cancels with it.
func (c *consumption) over() error {
	select {
	case err := <-c.closed:
		return ended(err)
	default:
	}
	select {
	case _, cancelled := <-c.cancels:
		if !cancelled {
			return ended(<-c.closed)
		}
		// The queue was deleted, or has moved. What is leased on the channel may be gone
		// or may be delivered to others: all of it is lost, and a new channel begins with
		// declaring again. The channels that have published to the queue are of no use
		// for the next one of its name; see lane.silent.
		c.sub.out.renew()
		return disconnected(fmt.Errorf("the broker cancelled the consumer of %q: the queue was deleted or has moved", c.sub.plan.queue))
	case err := <-c.closed:
		return ended(err)
	}
}

// attend does what Receive has asked for: consume with a larger window, or not at
// all for now.
func (c *consumption) attend(ctx context.Context) error {
	s := c.sub
	s.mu.Lock()
	pause := s.stopped && c.tag != ""
	if pause {
		s.window.parked = true
	}
	open, held := c.session.unsettled()
	widen := s.waiting && s.window.grow(open, held, s.wanted, time.Now())
	s.mu.Unlock()
	if !pause && !widen {
		return nil
	}
	return c.exchange(ctx, func() error {
		// The window belongs to the consumer, so that a larger one is another consumer's.
		// What the old one was given stays leased.
		if err := c.cancel(); err != nil || pause {
			return err
		}
		return c.consume()
	})
}

// exchange calls f, which must not take long, or the connection is given up.
func (c *consumption) exchange(ctx context.Context, f func() error) error {
	limited, done := context.WithTimeout(ctx, setUp)
	defer done()
	return c.w.within(limited, f)
}

// giveBack returns what nobody has asked for to the broker, for other consumers,
// and consumes no more until somebody asks: messages must not age here while
// another worker idles.
func (c *consumption) giveBack(ctx context.Context) error {
	s := c.sub
	s.mu.Lock()
	due := (s.window.fixed == 0 || s.stopped) && !s.waiting && len(s.buffer) > 0 && time.Since(s.idle) > unasked
	if len(s.gates) > 0 {
		s.buffer = s.gates.expire(s.buffer)
		notify(s.arrived)
	}
	s.mu.Unlock()
	if !due {
		return nil
	}
	return c.exchange(ctx, func() error {
		if err := c.cancel(); err != nil {
			return err
		}
		s.mu.Lock()
		back := append([]*leased(nil), s.buffer...)
		s.drop(len(s.buffer))
		s.window.parked = true
		if s.waiting { // somebody has asked after all
			notify(s.asked)
		}
		s.mu.Unlock()
		return c.restore(ctx, back)
	})
}

// restore gives back what nobody has asked for: to its place, and once that has
// been counted by a copy. A message that is pushed here and there and never run
// must not look like one that kills its workers.
func (c *consumption) restore(ctx context.Context, back []*leased) error {
	var nacked, copied []*leased
	var parcels []*parcel
	for _, l := range back {
		var m broker.Message
		f := decode(&l.native, &m)
		if f.deliveries == 0 || c.sub.plan.attempts != deliveriesAreCrashes {
			nacked = append(nacked, l)
			continue
		}
		copied = append(copied, l)
		parcels = append(parcels, &parcel{key: c.sub.plan.queue, copied: true, Publishing: copyOf(&l.native, f.attempt, nil)})
	}
	c.sub.out.hurry(ctx, parcels)
	var safe []*leased
	for i, p := range parcels {
		if p.err == nil {
			safe = append(safe, copied[i])
		} else {
			nacked = append(nacked, copied[i])
		}
	}
	if err := c.session.ack(safe, func(int, error) {}); err != nil {
		return err
	}
	return c.session.nack(nacked, func(int, error) {})
}

// cancel ends the running consumer and takes what is still on its way.
func (c *consumption) cancel() error {
	if c.tag == "" {
		return nil
	}
	if err := c.session.ch.Cancel(c.tag, false); err != nil {
		return c.why(err)
	}
	for d := range c.deliveries {
		c.take(d)
	}
	c.tag, c.deliveries = "", nil
	return nil
}
