package rabbit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
)

// The pause between attempts to connect: it doubles, and is spread over its
// upper half, so that the clients of a broker that restarts do not come back as
// one.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = 5 * time.Second
	// settled is how long a connection must have lived for the next loss to begin
	// with the first pause again.
	settled = 10 * time.Second
)

// link keeps one connection to the broker: it connects, serves, and connects
// again, for ever. The client's own recovery is not used: after it a late
// ack can hit another message that was given the same delivery tag.
type link struct {
	role   string // "consume refunds"
	dialer *dialer
	log    *slog.Logger
	served bool // there was a connection; run's

	mu sync.Mutex
	linkState
}

// linkState is what a link has to tell.
type linkState struct {
	live    *connection   // nil while there is none
	err     error         // why the last attempt failed; nil while the first one after a loss is under way
	since   time.Time     // when the connection was lost
	changed chan struct{} // closed and replaced when any of these has changed
}

func newLink(role string, d *dialer, log *slog.Logger) *link {
	return &link{
		role: role, dialer: d, log: log,
		linkState: linkState{since: time.Now(), changed: make(chan struct{})},
	}
}

// run connects and calls serve with each connection until ctx ends. serve
// returns when the connection, or what it has on it, is no longer of use.
func (l *link) run(ctx context.Context, serve func(context.Context, *connection) error) {
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		err := l.once(ctx, serve)
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > settled {
			pause = firstPause
		}
		l.served = l.failed(err) || l.served
		if l.served || !final(err) { // else nobody will try again
			l.log.Warn("RabbitMQ: no connection; trying again", "for", l.role, "error", err)
		}
		wait := pause/2 + rand.N(pause/2)
		pause = min(2*pause, maxPause)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	l.finish()
}

// once makes one connection and serves it to its end.
func (l *link) once(ctx context.Context, serve func(context.Context, *connection) error) error {
	w, err := l.dial(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	return serve(ctx, w)
}

func (l *link) dial(ctx context.Context) (*connection, error) {
	c, raw, err := l.dialer.dial(ctx, l.role)
	if err != nil {
		return nil, err
	}
	return newConnection(c, raw), nil
}

// serving says that w is of use from now on.
func (l *link) serving(w *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live, l.err = w, nil
	l.change()
}

// failed says that there is no connection. Where one was lost, whoever needs it
// waits for what the next attempt brings; where an attempt has failed, they are
// told why. It returns whether there was one to lose.
func (l *link) failed(err error) (lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lost = l.live != nil
	if lost {
		l.live, l.since = nil, time.Now()
	} else {
		l.err = err
	}
	l.change()
	return lost
}

// finish says that there will be no connection any more.
func (l *link) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live, l.err = nil, broker.ErrClosed
	l.change()
}

// change wakes everybody who waits. Lock held.
func (l *link) change() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *link) state() linkState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.linkState
}

// get returns the live connection. It waits for one that is being made, but not
// for the second attempt: the caller is told, and decides.
func (l *link) get(ctx context.Context) (*connection, error) {
	for {
		now := l.state()
		switch {
		case now.live != nil && !now.live.IsClosed():
			return now.live, nil
		case errors.Is(now.err, broker.ErrClosed):
			return nil, broker.ErrClosed
		case now.err != nil:
			return nil, disconnected(now.err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-now.changed:
		}
	}
}

// disconnected makes any reason for having no connection one that passes: what
// was opened once is tried for ever.
func disconnected(why error) error {
	if errors.Is(why, broker.ErrDisconnected) {
		return why
	}
	return fmt.Errorf("%w: %w", broker.ErrDisconnected, passing{why})
}

// passing hides the category of an error, and keeps its text.
type passing struct{ error }

// Unwrap returns nothing: a refusal that is met while reconnecting is not final.
func (p passing) Unwrap() error { return nil }

// connection is one connection to the broker, as long as it lives.
type connection struct {
	*amqp.Connection
	raw  *conn
	done chan struct{} // closed when the connection has ended

	mu      sync.Mutex
	cause   error         // why it ended
	alarm   string        // the reason for which the broker blocks publishers; "" when it does not
	changed chan struct{} // closed and replaced when alarm has changed
}

func newConnection(c *amqp.Connection, raw *conn) *connection {
	w := &connection{Connection: c, raw: raw, done: make(chan struct{}), changed: make(chan struct{})}
	closed := c.NotifyClose(make(chan *amqp.Error, 1))
	blocked := c.NotifyBlocked(make(chan amqp.Blocking, 16))
	go w.watch(closed, blocked)
	return w
}

// watch reads what the client tells of the connection until it is closed: a
// channel that nobody reads would stop the client's reader.
func (w *connection) watch(closed <-chan *amqp.Error, blocked <-chan amqp.Blocking) {
	defer close(w.done)
	for {
		select {
		case err := <-closed:
			w.end(err)
			return
		case b, ok := <-blocked:
			if ok {
				w.alarmed(b)
			} else {
				blocked = nil
			}
		}
	}
}

// end notes why the connection ended; err is nil when we have closed it.
func (w *connection) end(err *amqp.Error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cause = broker.ErrClosed
	if err != nil {
		w.cause = classify(err)
	}
}

// alarmed notes that the broker blocks publishers, or does so no longer.
func (w *connection) alarmed(b amqp.Blocking) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alarm = ""
	if b.Active {
		w.alarm = "the broker blocks publishers: " + b.Reason
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

// ended returns why the connection ended; nil while it lives.
func (w *connection) ended() error {
	select {
	case <-w.done:
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.cause
	default:
		return nil
	}
}

// unblocked waits until the broker takes messages again. While a broker has an
// alarm it reads nothing from a publishing connection.
func (w *connection) unblocked(ctx context.Context) error {
	for {
		w.mu.Lock()
		alarm, changed := w.alarm, w.changed
		w.mu.Unlock()
		if alarm == "" {
			return nil
		}
		select {
		case <-changed:
		case <-w.done:
			return disconnected(w.ended())
		case <-ctx.Done():
			return fmt.Errorf("%s; free memory or disk on the broker (%w): %w", alarm, broker.ErrFull, ctx.Err())
		}
	}
}

// full is the error of what the broker does not take because of an alarm; nil while
// there is none.
func (w *connection) full() error {
	if alarm := w.blocked(); alarm != "" {
		return fmt.Errorf("%s; free memory or disk on the broker: %w", alarm, broker.ErrFull)
	}
	return nil
}

// whileTaking returns a context that ends soon after the broker has begun to block
// publishers, and at once if it does so already. The caller calls done.
func (w *connection) whileTaking(ctx context.Context) (taking context.Context, done func()) {
	taking, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer cancel()
		patience := time.Duration(0)
		for {
			w.mu.Lock()
			alarm, changed := w.alarm, w.changed
			w.mu.Unlock()
			if alarm != "" {
				break
			}
			patience = hurry
			select {
			case <-changed:
			case <-taking.Done():
				return
			}
		}
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-taking.Done():
		}
	}()
	return taking, func() {
		cancel()
		<-ended
	}
}

// hurry is how long what was sent before an alarm may still be confirmed for those
// who do not wait for its end.
const hurry = time.Second

// within calls f, an exchange with the broker, and closes the connection when
// ctx ends first: the client has no other way to end its waiting.
func (w *connection) within(ctx context.Context, f func() error) error {
	stop := context.AfterFunc(ctx, w.raw.abort)
	defer stop()
	err := f()
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	return err
}

// close says goodbye, and does not wait long for the answer.
func (w *connection) close() {
	_ = w.CloseDeadline(time.Now().Add(farewell)) // the connection is of no use any more, whatever it says
	w.raw.abort()
	<-w.done
}

// blocked returns the alarm for which the broker takes no messages; "" for none.
func (w *connection) blocked() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.alarm
}

// first waits for the first connection. What time does not heal is returned at
// once, the rest when patience is over: the last cause then tells most.
func (l *link) first(ctx context.Context, patience time.Duration) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	var last error
	for {
		now := l.state()
		if now.live != nil {
			return nil
		}
		if now.err != nil {
			last = now.err
		}
		if final(last) {
			return last
		}
		select {
		case <-now.changed:
		case <-limit.C:
			if last == nil {
				last = errors.New("no answer yet")
			}
			return fmt.Errorf("rabbitmq: %s: no connection within %s: %w", l.role, patience, disconnected(last))
		case <-ctx.Done():
			return errors.Join(ctx.Err(), last)
		}
	}
}
