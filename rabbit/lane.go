package rabbit

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
)

// maxUnconfirmed is how many messages of a lane may await their confirmation: a
// broker that confirms slowly is not buried, and the client's memory is bounded.
const maxUnconfirmed = 2000

// lane is a channel in confirm mode for one exchange. Publishing to an exchange
// that does not exist, or that one may not write to, closes the channel; with a
// lane for each, that hurts nobody else.
type lane struct {
	w       *connection
	ch      *amqp.Channel
	closed  chan *amqp.Error
	returns chan amqp.Return
	slots   chan struct{} // one for each unconfirmed message

	mu    sync.Mutex
	cause error // why the channel closed
	calls int   // calls of publish under way
	// returned says of addresses up to which number messages may have been returned.
	returned map[address]uint64
	doubtful uint64 // up to this number any message may have been returned
	// silent says of keys since when the broker confirms nothing that is sent there.
	// A queue that was deleted and declared again under load has been seen (rarely, with
	// 3.10.8) to leave a publishing channel without any confirmation for good; only
	// another connection helps.
	silent   map[string]time.Time
	silences atomic.Int32 // how many there are
}

// silence is how long a broker that has no alarm may confirm nothing before its
// connection is given up.
const silence = 10 * time.Second

// address is what a returned message is recognised by. It is not unique: foreign
// messages may have no id, and the same message may be on its way twice.
type address struct{ exchange, key, id string }

func openLane(w *connection) (*lane, error) {
	ch, err := w.Channel()
	if err != nil {
		return nil, err
	}
	l := &lane{
		w: w, ch: ch,
		closed: ch.NotifyClose(make(chan *amqp.Error, 1)),
		// The client puts a return into the channel before it hands on the confirmation
		// of the same message, so whoever has seen the confirmation finds the return
		// there. There is room for all, so that the client never waits.
		returns:  ch.NotifyReturn(make(chan amqp.Return, maxUnconfirmed)),
		slots:    make(chan struct{}, maxUnconfirmed),
		returned: make(map[address]uint64),
		silent:   make(map[string]time.Time),
	}
	if err := ch.Confirm(false); err != nil {
		return nil, errors.Join(err, ch.Close())
	}
	return l, nil
}

// alive says whether the channel can be published to.
func (l *lane) alive() bool { return !l.ch.IsClosed() }

// parcel is one message on its way to the broker.
type parcel struct {
	exchange, key string
	amqp.Publishing
	copied  bool // from a delivery: the server will add its notes to the headers
	sent    time.Time
	number  uint64 // on its channel; 0 until it is sent
	confirm *amqp.DeferredConfirmation
	err     error // why it is not known to be safe
}

func (p *parcel) address() address { return address{p.exchange, p.key, p.MessageId} }

// publish sends parcels in order and returns when each is confirmed or has an
// error. Several goroutines may call it.
func (l *lane) publish(ctx context.Context, parcels []*parcel) {
	l.mu.Lock()
	l.calls++
	l.mu.Unlock()
	confirmed := 0
	for i, p := range parcels {
		for !l.enter(ctx, confirmed < i, p) {
			l.settle(ctx, parcels[confirmed])
			confirmed++
		}
		if p.err != nil {
			continue
		}
		if p.err = l.fits(p); p.err != nil {
			<-l.slots
			continue
		}
		// Not the variant with a context: it looks at it before it sends, as enter does.
		p.sent = time.Now()
		if p.confirm, p.err = l.ch.PublishWithDeferredConfirm(p.exchange, p.key, true, false, p.Publishing); p.err != nil {
			<-l.slots
			p.err = l.failure(p, p.err)
			continue
		}
		p.number = p.confirm.DeliveryTag
	}
	for _, p := range parcels[confirmed:] {
		l.settle(ctx, p)
	}
	l.takeReturns(parcels)
}

// fits checks what would end the connection: properties and headers travel in one
// frame, and a server may allow smaller ones than most do.
func (l *lane) fits(p *parcel) error {
	most := l.w.Config.FrameSize
	if len(p.Headers) == 0 || most <= 0 {
		return nil
	}
	if p.copied {
		// With the server's notes of its way through a delay queue it would be a frame that
		// no client can read, and so a message that nobody can take away.
		most = min(most-(frameBytes-maxCopied), maxCopied)
	}
	if n := headerBytes(&p.Publishing); n > most {
		return fmt.Errorf("its headers take %d bytes, and a frame has room for %d: move the large ones into the body: %w",
			n, most, broker.ErrTooLarge)
	}
	return nil
}

// enter takes a slot for p. When there is none and the caller has unconfirmed
// messages of its own (owns), it returns false: one of those must be settled
// first, or two callers could wait for each other's.
func (l *lane) enter(ctx context.Context, owns bool, p *parcel) bool {
	if ctx.Err() != nil {
		p.err = l.late(ctx.Err())
		return true
	}
	if p.err = l.w.unblocked(ctx); p.err != nil {
		return true
	}
	if owns {
		select {
		case l.slots <- struct{}{}:
			return true
		default:
			return false
		}
	}
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		p.err = l.late(ctx.Err())
	}
	return true
}

// late says of an error of the caller's context that the broker is the cause, if it
// blocks publishers.
func (l *lane) late(err error) error {
	if full := l.w.full(); full != nil {
		return fmt.Errorf("%w: %w", full, err)
	}
	return err
}

// settle waits for the confirmation of p and frees its slot.
func (l *lane) settle(ctx context.Context, p *parcel) {
	if p.confirm == nil {
		return // was not sent
	}
	select {
	case <-p.confirm.Done():
		l.heard(p)
		if !p.confirm.Acked() {
			p.err = l.failure(p, nil)
		}
		<-l.slots
	case <-ctx.Done():
		p.err = fmt.Errorf("not confirmed in time, it may have been stored all the same: %w", l.late(ctx.Err()))
		l.unheard(p)
		// It keeps its slot until the broker has answered, or the channel has ended:
		// there are never more answers to come than there is room for.
		go func(confirm *amqp.DeferredConfirmation) {
			<-confirm.Done()
			<-l.slots
		}(p.confirm)
	}
	p.confirm = nil
}

// heard notes an answer.
func (l *lane) heard(p *parcel) {
	if l.silences.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.silent, p.key)
	l.silences.Store(int32(len(l.silent)))
}

// unheard notes that somebody has waited in vain, and ends the connection when
// that has lasted too long.
func (l *lane) unheard(p *parcel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	since, known := l.silent[p.key]
	if !known {
		since = p.sent
	}
	switch {
	case l.w.blocked() != "":
		clear(l.silent)
	case time.Since(since) > silence:
		l.w.raw.abort()
	case len(l.silent) < maxLanes:
		l.silent[p.key] = since
	}
	l.silences.Store(int32(len(l.silent)))
}

// failure is why p was not confirmed: its channel is gone, or the broker refused
// it. sending is what the client said when it was sent.
func (l *lane) failure(p *parcel, sending error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause == nil && l.ch.IsClosed() {
		// The client tells why before it fails the confirmations.
		if err := <-l.closed; err != nil {
			l.cause = err
		} else {
			l.cause = disconnected(errors.New("the channel was closed"))
		}
	}
	switch {
	case l.cause == nil && sending == nil:
		return fmt.Errorf("refused by the broker (nack): the queue has reached its limit, or lost its majority: %w", broker.ErrFull)
	case l.cause == nil:
		return disconnected(sending)
	}
	return l.blame(p)
}

// oversize finds the size of the message for which RabbitMQ closed a channel: it
// is told in the text alone.
var oversize = regexp.MustCompile(`message size (\d+) is larger`)

// blame turns the reason for which the channel closed into that of one message.
// Lock held.
func (l *lane) blame(p *parcel) error {
	e, ok := errors.AsType[*amqp.Error](l.cause)
	if !ok {
		return disconnected(l.cause)
	}
	switch e.Code {
	case amqp.NotFound:
		return fmt.Errorf("exchange %q does not exist (declare it, or publish to a queue): %w: %w", p.exchange, broker.ErrNotFound, e)
	case amqp.AccessRefused:
		return fmt.Errorf("no permission to write to exchange %q: %w: %w", p.exchange, broker.ErrAccessDenied, e)
	}
	if m := oversize.FindStringSubmatch(e.Reason); len(m) == 2 && m[1] == strconv.Itoa(len(p.Body)) {
		return fmt.Errorf("the broker's max_message_size is exceeded: %w: %w", broker.ErrTooLarge, e)
	}
	return disconnected(e) // the fault of another message, or of none: publish it again
}

// maxReturned bounds the memory of returns.
const maxReturned = 4096

// takeReturns gives those parcels an error that were confirmed and returned: no
// queue took them. A return names no number, so that it is held against every
// message of its address that was sent before it was seen, whoever waits for it:
// one that is published again for nothing is better than one that is lost.
func (l *lane) takeReturns(parcels []*parcel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls--
	for {
		select {
		case r, ok := <-l.returns:
			if ok {
				l.returned[address{r.Exchange, r.RoutingKey, r.MessageId}] = l.ch.GetNextPublishSeqNo() - 1
				continue
			}
		default:
		}
		break
	}
	if len(l.returned) > maxReturned {
		l.doubtful = l.ch.GetNextPublishSeqNo() - 1
		clear(l.returned)
	}
	if len(l.returned) > 0 || l.doubtful > 0 {
		for _, p := range parcels {
			if p.err == nil && p.number <= max(l.returned[p.address()], l.doubtful) {
				p.err = unroutable(p)
			}
		}
	}
	if l.calls == 0 {
		clear(l.returned)
		l.doubtful = 0
	}
}

func unroutable(p *parcel) error {
	if p.exchange == "" {
		return fmt.Errorf("queue %q does not exist: declare it, or open it with topology: declare: %w", p.key, broker.ErrNotFound)
	}
	return fmt.Errorf("exchange %q routes a message with key %q to no queue; bind one, or correct the key or the headers: %w", p.exchange, p.key, broker.ErrNotFound)
}
