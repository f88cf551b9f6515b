package rabbit

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// ensure makes or verifies what the topology asks for, according to its mode. It
// changes nothing that is there already, so it is called at the beginning of
// every session. open opens a channel; every fault closes one, and ensure goes on
// with another, so that it reports all faults at once, up to a dozen. Its errors
// have categories.
func (t *topology) ensure(open func() (*amqp.Channel, error)) error {
	if t.mode == TopologyNone {
		return nil
	}
	r := &run{open: open}
	defer r.close()
	for _, q := range t.order() {
		if t.mode == TopologyVerify {
			r.do("find", "queue", q.name, q.String(), func(ch *amqp.Channel) error {
				_, err := ch.QueueDeclarePassive(q.name, true, false, false, false, nil)
				return err
			})
			if r.failed {
				continue
			}
			// Only a declaration makes the server compare. It would make the queue anew
			// were it deleted since the line above.
		}
		r.do(t.verb(), "queue", q.name, q.String(), func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(q.name, true, false, false, false, q.args)
			return err
		})
	}
	for i := range t.bindings {
		t.bind(r, &t.bindings[i])
	}
	return r.err()
}

// order begins with the queue that is consumed: what is wrong with that one is to be
// read first.
func (t *topology) order() []queue {
	i := slices.IndexFunc(t.queues, func(q queue) bool { return q.name == t.queue })
	if i < 0 {
		return t.queues
	}
	return slices.Concat(t.queues[i:i+1], t.queues[:i], t.queues[i+1:])
}

func (t *topology) verb() string {
	if t.mode == TopologyVerify {
		return "compare"
	}
	return "declare"
}

func (t *topology) bind(r *run, b *Binding) {
	if t.mode == TopologyVerify {
		r.do("find", "exchange", b.Exchange, "", func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(b.Exchange, "direct", true, false, false, false, nil) // the type is not looked at
		})
		if r.failed {
			return
		}
	}
	if b.Type != "" {
		r.do(t.verb(), "exchange", b.Exchange, "durable, type "+string(b.Type), func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare(b.Exchange, string(b.Type), true, false, false, false, nil)
		})
		if r.failed {
			return
		}
	}
	if t.mode == TopologyVerify {
		return // there is no asking for a binding in AMQP
	}
	args := amqp.Table(nil)
	if len(b.Headers) > 0 {
		match := b.Match
		orElse(&match, MatchAll)
		args = amqp.Table{"x-match": string(match)}
		for _, name := range slices.Sorted(maps.Keys(b.Headers)) {
			args[name] = b.Headers[name]
		}
	}
	keys := b.RoutingKeys
	if len(keys) == 0 {
		keys = []string{""}
	}
	for _, key := range keys {
		r.do(fmt.Sprintf("bind queue %q with key %q to", t.queue, key), "exchange", b.Exchange, "", func(ch *amqp.Channel) error {
			return ch.QueueBind(t.queue, key, b.Exchange, false, args)
		})
		if r.failed {
			return
		}
	}
}

// maxMismatches bounds how many faults one call of ensure collects.
const maxMismatches = 12

// run does one step after another, each on an open channel.
type run struct {
	open   func() (*amqp.Channel, error)
	ch     *amqp.Channel
	errs   []error
	failed bool // the last step has
	over   bool // there is no going on
}

func (r *run) do(verb, kind, name, wanted string, step func(*amqp.Channel) error) {
	r.failed = true
	if r.over {
		return
	}
	err := error(nil)
	if r.ch == nil || r.ch.IsClosed() {
		r.ch, err = r.open()
	}
	if err == nil {
		err = step(r.ch)
	}
	if err == nil {
		r.failed = false
		return
	}
	reply, _ := failure.Find[*amqp.Error](err)
	if reply == nil || !reply.Server || reply.Code >= 500 || reply.Code == amqp.ConnectionForced {
		r.over = true // no answer about this step, but the end of the connection
	}
	err = stepError(kind, name, wanted, reply, err)
	if _, mismatch := failure.Find[*MismatchError](err); mismatch { // which names the thing itself
		r.errs = append(r.errs, fmt.Errorf("rabbitmq: %s: %w", verb, err))
	} else {
		r.errs = append(r.errs, fmt.Errorf("rabbitmq: %s %s %q: %w", verb, kind, name, err))
	}
	r.over = r.over || len(r.errs) == maxMismatches
}

// stepError says what a refused step means and what to do about it.
func stepError(kind, name, wanted string, reply *amqp.Error, err error) error {
	if reply == nil || !reply.Server {
		return classify(err)
	}
	switch {
	case reply.Code == amqp.PreconditionFailed && inequivalent.MatchString(reply.Reason):
		return newMismatch(kind, name, wanted, reply)
	case reply.Code == amqp.PreconditionFailed:
		// An argument that this server refuses, or a queue type that it does not have.
		return fmt.Errorf("%w; asked for: %s", classify(err), wanted)
	case reply.Code == amqp.AccessRefused:
		return fmt.Errorf("%w; give the user the permission to configure, read and write the queues and exchanges of these names and to write amq.default, "+
			"or have somebody else declare them and set topology: none", classify(err))
	case reply.Code == amqp.NotFound:
		return fmt.Errorf("%w; declare it (topology: declare does; an exchange needs its type), or correct the name", classify(err))
	case reply.Code == amqp.ResourceLocked:
		return fmt.Errorf("%w; it is exclusive to another connection: choose another name", classify(err))
	default:
		return classify(err)
	}
}

func (r *run) close() {
	if r.ch != nil && !r.ch.IsClosed() {
		_ = r.ch.Close() // nothing hangs on it
	}
}

// err returns the faults. If one of them is the end of the connection then the
// session is to be made anew, and the others will be found again; so it is
// returned alone.
func (r *run) err() error {
	if n := len(r.errs); n > 0 && errors.Is(r.errs[n-1], broker.ErrDisconnected) {
		return r.errs[n-1]
	}
	return errors.Join(r.errs...)
}
