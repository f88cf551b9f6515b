package rabbit

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
)

// rung is one delay and the queue that makes it.
type rung struct {
	delay time.Duration
	queue string
}

// topology is what must exist on the server for one queue. It does not change.
type topology struct {
	queue, deadLetter string
	rungs             []rung // by rising delay

	mode     Topology
	queues   []queue // in the order in which they are declared
	bindings []Binding
}

// queue is one queue and its arguments.
type queue struct {
	name string
	args amqp.Table
}

// newTopology plans the queues. What cannot be is reported at once, as joined
// [*broker.FieldError]. s has been validated.
func newTopology(s *Settings, name string, in broker.Intent) (*topology, error) {
	d := s.withDefaults()
	t := &topology{
		queue:      name,
		deadLetter: d.DeadLetter,
		mode:       d.Topology,
		bindings:   d.Bindings,
	}
	orElse(&t.deadLetter, name+".dlq")

	var f faults
	f.fit(&d, in)
	delays := d.Delays
	if delays == nil {
		delays = ladder(in.Delays)
		if n := len(delays); n > 0 && delays[n-1] > MaxDelay && !in.Ordered {
			f.add("Intent.Delays", delays[n-1], "is longer than a delay queue can hold a message, %s; shorten the backoff", MaxDelay)
		}
	}
	if in.Ordered {
		delays = nil // a message that goes round through another queue has lost its place
	}
	for _, after := range delays {
		t.rungs = append(t.rungs, rung{after, name + ".retry." + strconv.FormatInt(after.Milliseconds(), 10)})
	}
	t.plan(&d, in)
	f.names(t)
	if err := f.err(); err != nil {
		return nil, err
	}
	return t, nil
}

// fit checks settings against what the consumer means to do.
func (f *faults) fit(d *Settings, in broker.Intent) {
	if in.Ordered && d.QueueType == Classic {
		f.add("QueueType", d.QueueType, "cannot keep the order of an ordered consumer when a worker is lost; use quorum, or consumer.ordering: none")
	}
	if in.Ordered && len(d.Delays) > 0 {
		f.add("Delays", d.Delays, "have no use for an ordered consumer, which holds a message until its retry; remove them")
	}
	if most := in.MaxAttempts + in.MaxAbandoned; d.QueueType == Quorum && d.DeliveryLimit <= most {
		f.add("DeliveryLimit", d.DeliveryLimit, "must exceed the consumer's max_attempts and max_abandoned together, %d + %d, or the server ends a message before the consumer does; raise it (which needs a new queue), or lower those",
			in.MaxAttempts, in.MaxAbandoned)
	}
}

// names checks the names of the queues, which the server gives for no reason but
// their length.
func (f *faults) names(t *topology) {
	switch longest := slices.MaxFunc(t.queues, func(a, b queue) int { return len(a.name) - len(b.name) }); {
	case t.queue == "":
		f.add("Queue", nil, "is empty; name the queue")
	case strings.HasPrefix(t.queue, reserved):
		f.add("Queue", t.queue, "begins with %s, which the server keeps for itself; choose another name", reserved)
	case len(longest.name) > maxName:
		f.add("Queue", t.queue, "is too long: %q has %d bytes, and the server takes %d; shorten the name", longest.name, len(longest.name), maxName)
	}
	if t.deadLetter == t.queue {
		f.add("DeadLetter", t.deadLetter, "must be another queue than the one that is consumed; leave it empty for %q", t.queue+".dlq")
	}
	for _, r := range t.rungs {
		if t.deadLetter == r.queue {
			f.add("DeadLetter", t.deadLetter, "is the name of a delay queue, which would send dead letters back; choose another")
		}
	}
}

// plan lists the queues. Where messages go is declared before where they come
// from, so that nothing that is moved early finds its target missing.
//
// All queues are durable, in declare.go: servers 4.x deprecate others. Every
// integer is an int64: the client cuts an int down to 32 bits.
func (t *topology) plan(d *Settings, in broker.Intent) {
	quorum := d.QueueType == Quorum
	base := func(limit int) amqp.Table {
		args := amqp.Table{"x-queue-type": string(d.QueueType)}
		if quorum {
			// Without it, servers 4.x drop a message at its 21st return, also from a
			// dead-letter queue in which tools look.
			args["x-delivery-limit"] = int64(limit)
			if d.QuorumGroupSize > 0 {
				args["x-quorum-initial-group-size"] = int64(d.QuorumGroupSize)
			}
		}
		return args
	}
	// forward makes a queue move what leaves it to another one. At least once needs
	// reject-publish: the default overflow, drop-head, would have the server fall
	// back to at most once without a word. A classic queue has only at most once.
	forward := func(args amqp.Table, to string) {
		args["x-dead-letter-exchange"] = ""
		args["x-dead-letter-routing-key"] = to
		args["x-overflow"] = "reject-publish"
		if quorum {
			args["x-dead-letter-strategy"] = "at-least-once"
		}
	}

	main := base(d.DeliveryLimit)
	forward(main, t.deadLetter)
	if in.Ordered && quorum {
		main["x-single-active-consumer"] = true
	}
	if d.MaxMessages > 0 {
		main["x-max-length"] = int64(d.MaxMessages)
	}
	if d.MaxBytes > 0 {
		main["x-max-length-bytes"] = int64(d.MaxBytes)
	}
	t.queues = append(t.queues, queue{t.deadLetter, base(maxLimit)}, queue{t.queue, main})
	for _, r := range t.rungs {
		args := base(maxLimit)
		forward(args, t.queue)
		args["x-message-ttl"] = r.delay.Milliseconds()
		t.queues = append(t.queues, queue{r.queue, args})
	}
}

// ladder turns the delays of a backoff into rungs: in whole milliseconds, rising,
// and none within a quarter of the next. Every delay has a rung that is not
// shorter.
func ladder(delays []time.Duration) []time.Duration {
	up := make([]time.Duration, 0, len(delays))
	for _, d := range delays {
		if d > 0 { // what waits for nothing needs no queue
			up = append(up, (d + time.Millisecond - 1).Truncate(time.Millisecond))
		}
	}
	slices.Sort(up)
	var kept []time.Duration // falling
	for _, d := range slices.Backward(up) {
		if n := len(kept); n == 0 || d+d/4 <= kept[n-1] {
			kept = append(kept, d)
		}
	}
	slices.Reverse(kept)
	return kept
}

// forDeadLetters returns the part that somebody needs who reads the dead-letter
// queue: nothing is sent on from there.
func (t *topology) forDeadLetters() *topology {
	return &topology{queue: t.deadLetter, mode: t.mode, queues: t.queues[:1]}
}

// rung returns the queue to which a message goes that is to come back after a
// time: the shortest delay that is not less, the queue itself when it need not
// wait. false: no delay is that long.
func (t *topology) rung(after time.Duration) (string, bool) {
	if after <= 0 {
		return t.queue, true
	}
	i, _ := slices.BinarySearchFunc(t.rungs, after, func(r rung, d time.Duration) int { return int(min(max(r.delay-d, -1), 1)) })
	if i == len(t.rungs) {
		return "", false
	}
	return t.rungs[i].queue, true
}

// maxDelay returns the longest delay, 0 when there is none.
func (t *topology) maxDelay() time.Duration {
	if len(t.rungs) == 0 {
		return 0
	}
	return t.rungs[len(t.rungs)-1].delay
}

// String shows the arguments in a fixed order, as errors print them.
func (q queue) String() string {
	var b strings.Builder
	b.WriteString("durable")
	for _, key := range slices.Sorted(maps.Keys(q.args)) {
		fmt.Fprintf(&b, ", %s: ", key)
		if text, isText := q.args[key].(string); isText {
			b.WriteString(strconv.Quote(text))
		} else {
			fmt.Fprint(&b, q.args[key])
		}
	}
	return b.String()
}
