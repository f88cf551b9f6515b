package rabbit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

func plannedTopology(t *testing.T, s Settings, name string, in broker.Intent) *topology {
	t.Helper()
	top, err := newTopology(&s, name, in)
	if err != nil {
		t.Fatal(err)
	}
	return top
}

func show(top *topology) string {
	var b strings.Builder
	for _, q := range top.queues {
		fmt.Fprintf(&b, "%s: %s\n", q.name, q)
	}
	return b.String()
}

// What a queue is declared with is fixed: an argument that changed would make
// every queue that is in use a mismatch.
func TestArgumentsOfEachQueueAreFixed(t *testing.T) {
	t.Parallel()
	backoff := broker.Intent{MaxAttempts: 5, MaxAbandoned: 5, Delays: []time.Duration{time.Second}}
	for name, c := range map[string]struct {
		s    Settings
		in   broker.Intent
		want string
	}{
		"quorum": {Settings{}, backoff, `q.dlq: durable, x-delivery-limit: 1000000, x-queue-type: "quorum"
q: durable, x-dead-letter-exchange: "", x-dead-letter-routing-key: "q.dlq", x-dead-letter-strategy: "at-least-once", x-delivery-limit: 100, x-overflow: "reject-publish", x-queue-type: "quorum"
q.retry.1000: durable, x-dead-letter-exchange: "", x-dead-letter-routing-key: "q", x-dead-letter-strategy: "at-least-once", x-delivery-limit: 1000000, x-message-ttl: 1000, x-overflow: "reject-publish", x-queue-type: "quorum"
`},
		"ordered": {Settings{}, broker.Intent{Ordered: true, Delays: backoff.Delays}, `q.dlq: durable, x-delivery-limit: 1000000, x-queue-type: "quorum"
q: durable, x-dead-letter-exchange: "", x-dead-letter-routing-key: "q.dlq", x-dead-letter-strategy: "at-least-once", x-delivery-limit: 100, x-overflow: "reject-publish", x-queue-type: "quorum", x-single-active-consumer: true
`},
		"classic": {Settings{QueueType: Classic}, backoff, `q.dlq: durable, x-queue-type: "classic"
q: durable, x-dead-letter-exchange: "", x-dead-letter-routing-key: "q.dlq", x-overflow: "reject-publish", x-queue-type: "classic"
q.retry.1000: durable, x-dead-letter-exchange: "", x-dead-letter-routing-key: "q", x-message-ttl: 1000, x-overflow: "reject-publish", x-queue-type: "classic"
`},
		"all limits": {Settings{DeliveryLimit: 7, MaxMessages: 10, MaxBytes: 1000, QuorumGroupSize: 3, DeadLetter: "dead"}, broker.Intent{}, `dead: durable, x-delivery-limit: 1000000, x-queue-type: "quorum", x-quorum-initial-group-size: 3
q: durable, x-dead-letter-exchange: "", x-dead-letter-routing-key: "dead", x-dead-letter-strategy: "at-least-once", x-delivery-limit: 7, x-max-length: 10, x-max-length-bytes: 1000, x-overflow: "reject-publish", x-queue-type: "quorum", x-quorum-initial-group-size: 3
`},
	} {
		if got := show(plannedTopology(t, c.s, "q", c.in)); got != c.want {
			t.Errorf("%s: planned\n%swant\n%s", name, got, c.want)
		}
	}
}

// The dead-letter queue's part of a topology declares nothing else: who reads it
// needs neither the delays nor the exchanges.
func TestDeadLetterPartIsItsQueueAlone(t *testing.T) {
	t.Parallel()
	top := plannedTopology(t, Settings{Topology: TopologyVerify, Bindings: []Binding{{Exchange: "e"}}}, "q", broker.Intent{Delays: []time.Duration{1}})
	part := top.forDeadLetters()
	if show(part) != "q.dlq: durable, x-delivery-limit: 1000000, x-queue-type: \"quorum\"\n" || part.mode != TopologyVerify ||
		part.queue != "q.dlq" || part.deadLetter != "" || len(part.bindings)+len(part.rungs) != 0 {
		t.Errorf("part: %+v", part)
	}
}

// Whatever the backoff, every delay it asks for has a rung that is not shorter
// and at most a quarter (or the rounding up to a millisecond) longer, and the
// rungs keep their distance.
func TestLadderServesEveryDelayWithFewRungs(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 3))
		delays := make([]time.Duration, r.IntN(40))
		for i := range delays {
			delays[i] = time.Duration(r.ExpFloat64() * float64(time.Second) * 30)
		}
		top := plannedTopology(t, Settings{}, "q", broker.Intent{Delays: delays})
		for i := 1; i < len(top.rungs); i++ {
			if a, b := top.rungs[i-1].delay, top.rungs[i].delay; a+a/4 > b {
				t.Fatalf("seed %d: rungs %s and %s are close", seed, a, b)
			}
		}
		for _, d := range delays {
			name, ok := top.rung(d)
			i := slices.IndexFunc(top.rungs, func(r rung) bool { return r.queue == name })
			if d == 0 {
				continue
			}
			if !ok || i < 0 || top.rungs[i].delay < d {
				t.Fatalf("seed %d: no rung serves %s: %v", seed, d, top.rungs)
			}
			up := (d + time.Millisecond - 1).Truncate(time.Millisecond)
			if top.rungs[i].delay > up+up/4 {
				t.Fatalf("seed %d: %s waits %s", seed, d, top.rungs[i].delay)
			}
			if i > 0 && top.rungs[i-1].delay >= d {
				t.Fatalf("seed %d: %s takes the rung %s, and %s suffices", seed, d, top.rungs[i].delay, top.rungs[i-1].delay)
			}
		}
	}
}

// Delays that are listed stand as they are; the consumer's are thinned, rounded
// up and sorted; an ordered consumer has none.
func TestRungsComeFromSettingsOrFromTheBackoff(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	for name, c := range map[string]struct {
		listed, asked []time.Duration
		ordered       bool
		want          string
	}{
		"none":              {nil, nil, false, "[]"},
		"nothing to wait":   {nil, []time.Duration{0, -5}, false, "[]"},
		"listed":            {[]time.Duration{100 * ms, 110 * ms}, []time.Duration{time.Hour}, false, "[{100ms q.retry.100} {110ms q.retry.110}]"},
		"thinned":           {nil, []time.Duration{90 * ms, 100 * ms, 124 * ms, 125 * ms}, false, "[{100ms q.retry.100} {125ms q.retry.125}]"},
		"a quarter is kept": {nil, []time.Duration{100 * ms, 125 * ms}, false, "[{100ms q.retry.100} {125ms q.retry.125}]"},
		"rounded up":        {nil, []time.Duration{1, 3*ms + 1, 4 * ms, 10 * ms}, false, "[{1ms q.retry.1} {4ms q.retry.4} {10ms q.retry.10}]"},
		"unsorted":          {nil, []time.Duration{time.Second, ms, ms}, false, "[{1ms q.retry.1} {1s q.retry.1000}]"},
		"ordered":           {nil, []time.Duration{time.Second}, true, "[]"},
		"the longest":       {nil, []time.Duration{MaxDelay}, false, "[{87600h0m0s q.retry.315360000000}]"},
	} {
		top := plannedTopology(t, Settings{Delays: c.listed}, "q", broker.Intent{Delays: c.asked, Ordered: c.ordered})
		var rungs []string
		for _, r := range top.rungs {
			rungs = append(rungs, "{"+r.delay.String()+" "+r.queue+"}")
		}
		if got := fmt.Sprint(rungs); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	top := plannedTopology(t, Settings{Delays: []time.Duration{100 * ms, time.Second}}, "q", broker.Intent{})
	for after, want := range map[time.Duration]string{
		-1: "q", 0: "q", 1: "q.retry.100", 100 * ms: "q.retry.100", 100*ms + 1: "q.retry.1000", time.Second: "q.retry.1000", time.Second + 1: "",
	} {
		if got, ok := top.rung(after); got != want || ok != (want != "") {
			t.Errorf("a message that waits %s goes to %q (%v), want %q", after, got, ok, want)
		}
	}
	if top.maxDelay() != time.Second || top.forDeadLetters().maxDelay() != 0 {
		t.Errorf("longest delays: %s and %s", top.maxDelay(), top.forDeadLetters().maxDelay())
	}
}

// What the consumer means to do must fit the queue, and is refused before
// anything is declared.
func TestTopologyThatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		s     Settings
		queue string
		in    broker.Intent
		says  string
	}{
		"budget at the limit":     {Settings{DeliveryLimit: 10}, "q", broker.Intent{MaxAttempts: 6, MaxAbandoned: 4}, "DeliveryLimit = 10: must exceed the consumer's max_attempts and max_abandoned together, 6 + 4"},
		"budget above default":    {Settings{}, "q", broker.Intent{MaxAttempts: 100}, "DeliveryLimit = 100"},
		"ordered and classic":     {Settings{QueueType: Classic}, "q", broker.Intent{Ordered: true}, "QueueType = classic: cannot keep the order"},
		"ordered and delays":      {Settings{Delays: []time.Duration{time.Second}}, "q", broker.Intent{Ordered: true}, "Delays = [1s]: have no use"},
		"backoff too long":        {Settings{}, "q", broker.Intent{Delays: []time.Duration{MaxDelay + 1}}, "Intent.Delays = 87600h0m0.001s: is longer"},
		"no name":                 {Settings{}, "", broker.Intent{}, "Queue is empty"},
		"reserved name":           {Settings{}, "amq.q", broker.Intent{}, "amq."},
		"long name":               {Settings{}, strings.Repeat("q", 252), broker.Intent{}, "256 bytes"},
		"long name of a delay":    {Settings{Delays: []time.Duration{time.Second}}, strings.Repeat("q", 245), broker.Intent{}, "256 bytes"},
		"own dead letters":        {Settings{DeadLetter: "q"}, "q", broker.Intent{}, "another queue"},
		"dead letters in a delay": {Settings{DeadLetter: "q.retry.1000", Delays: []time.Duration{time.Second}}, "q", broker.Intent{}, "delay queue"},
	} {
		top, err := newTopology(&c.s, c.queue, c.in)
		if err == nil || !strings.Contains(err.Error(), c.says) || top != nil {
			t.Errorf("%s: %v, want an error that says %q", name, err, c.says)
			continue
		}
		if !final(err) {
			t.Errorf("%s: %v is not final", name, err)
		}
	}
	if _, err := newTopology(&Settings{DeliveryLimit: 11}, "q", broker.Intent{MaxAttempts: 6, MaxAbandoned: 4}); err != nil {
		t.Errorf("a budget of 10 is refused at a limit of 11: %v", err)
	}
	if _, err := newTopology(&Settings{QueueType: Classic}, "q", broker.Intent{MaxAttempts: 1000}); err != nil {
		t.Errorf("a classic queue, which has no limit, is refused: %v", err)
	}
}
