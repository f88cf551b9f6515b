package rabbit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/internal/faultlab"
)

// stage is a connection to a real server and a name that no other test uses.
type stage struct {
	t    *testing.T
	conn *amqp.Connection
	name string
}

func newStage(t *testing.T, s Settings) *stage {
	t.Helper()
	s.DialTimeout = patient
	c, network, err := mustDialer(t, s).dial(t.Context(), t.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		_ = network.Close()
	})
	return &stage{t, c, "anyqueue-test-" + strings.ToLower(rand.Text()[:10])}
}

func (s *stage) channel() *amqp.Channel {
	s.t.Helper()
	ch, err := s.conn.Channel()
	if err != nil {
		s.t.Fatal(err)
	}
	return ch
}

// plan plans a topology whose queues are deleted at the end of the test.
func (s *stage) plan(settings Settings, in broker.Intent) *topology {
	s.t.Helper()
	top := plannedTopology(s.t, settings, s.name, in)
	s.t.Cleanup(func() {
		ch := s.channel()
		for _, q := range top.queues {
			_, _ = ch.QueueDelete(q.name, false, false, false)
		}
		for _, b := range top.bindings {
			if !strings.HasPrefix(b.Exchange, reserved) {
				_ = ch.ExchangeDelete(b.Exchange, false, false)
			}
		}
		_ = ch.Close()
	})
	return top
}

func (s *stage) ensure(top *topology) error { return top.ensure(s.conn.Channel) }

func (s *stage) exists(queue string) bool {
	s.t.Helper()
	ch := s.channel()
	_, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err == nil {
		_ = ch.Close()
	}
	return err == nil
}

// publish sends a message and waits until the server has it.
func (s *stage) publish(exchange, key string, headers amqp.Table) {
	s.t.Helper()
	ch := s.channel()
	defer func() { _ = ch.Close() }()
	if err := ch.Confirm(false); err != nil {
		s.t.Fatal(err)
	}
	c, err := ch.PublishWithDeferredConfirm(exchange, key, false, false, amqp.Publishing{Headers: headers, Body: []byte(key), DeliveryMode: amqp.Persistent})
	if err != nil {
		s.t.Fatal(err)
	}
	if ok, err := c.WaitContext(s.t.Context()); err != nil || !ok {
		s.t.Fatalf("publish to %q: confirmed %v, %v", exchange, ok, err)
	}
}

// receive takes a message off a queue within a time, and reports when there is
// none.
func (s *stage) receive(queue string, within time.Duration) (amqp.Delivery, bool) {
	s.t.Helper()
	ch := s.channel()
	defer func() { _ = ch.Close() }()
	messages, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case d := <-messages:
		if err := d.Ack(false); err != nil {
			s.t.Fatal(err)
		}
		return d, true
	case <-timer.C:
		return amqp.Delivery{}, false
	}
}

// kinds are the settings that lead to different arguments.
var kinds = map[string]struct {
	s  Settings
	in broker.Intent
}{
	"quorum":       {Settings{}, broker.Intent{Delays: []time.Duration{50 * time.Millisecond, MaxDelay}}},
	"ordered":      {Settings{}, broker.Intent{Ordered: true}},
	"limits":       {Settings{DeliveryLimit: 7, MaxMessages: 10, MaxBytes: 1000, QuorumGroupSize: 1}, broker.Intent{}},
	"classic":      {Settings{QueueType: Classic, MaxMessages: 10}, broker.Intent{Delays: []time.Duration{50 * time.Millisecond}}},
	"largest":      {Settings{DeliveryLimit: maxLimit}, broker.Intent{}},
	"longest name": {Settings{DeadLetter: strings.Repeat("d", 230)}, broker.Intent{}},
}

// Every kind of queue is accepted by the server, and declaring it again, as each
// session does, changes nothing; so does verifying it.
func TestEachKindOfQueueIsDeclaredAndVerified(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		for kind, c := range kinds {
			t.Run(kind, func(t *testing.T) {
				st := newStage(t, at(t, server))
				if c.s.DeadLetter != "" {
					c.s.DeadLetter += st.name
				}
				top := st.plan(c.s, c.in)
				for range 2 {
					if err := st.ensure(top); err != nil {
						t.Fatal(err)
					}
				}
				top.mode = TopologyVerify
				if err := st.ensure(top); err != nil {
					t.Errorf("verify what was declared: %v", err)
				}
				for _, q := range top.queues {
					if !st.exists(q.name) {
						t.Errorf("%s was not declared", q.name)
					}
				}
			})
		}
	})
}

// An argument that the server would not compare would be a silent difference, so
// each of those that this package counts on is changed once.
func TestEveryArgumentIsComparedByTheServer(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		st := newStage(t, at(t, server))
		top := st.plan(Settings{MaxMessages: 10, MaxBytes: 1000, QuorumGroupSize: 1}, broker.Intent{Delays: []time.Duration{time.Second}})
		if err := st.ensure(top); err != nil {
			t.Fatal(err)
		}
		for i, q := range top.queues {
			for key, value := range q.args {
				other := maps.Clone(q.args)
				switch v := value.(type) {
				case int64:
					other[key] = v + 1
				case string:
					other[key] = map[string]string{"quorum": "classic", "at-least-once": "at-most-once", "reject-publish": "drop-head"}[v]
					if other[key] == "" {
						other[key] = "another"
					}
				}
				changed := *top
				changed.queues = []queue{{q.name, other}}
				err := st.ensure(&changed)
				mismatch, ok := errors.AsType[*MismatchError](err)
				switch {
				case key == "x-queue-type" && err != nil:
					// The other arguments are then wrong as well, and the server may say that
					// first.
				case !ok:
					t.Errorf("queue %d with another %s: %v", i, key, err)
				case mismatch.Argument != key || mismatch.Name != q.name || mismatch.Kind != "queue" || mismatch.Asked == "" || mismatch.Has == "":
					t.Errorf("queue %d with another %s: %+v", i, key, mismatch)
				}
			}
		}
	})
}

// All that is different is reported at once, with both sides and what to do, and
// nothing is changed; verifying finds the same.
func TestDifferentQueueShowsBothSides(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		for _, mode := range []Topology{TopologyDeclare, TopologyVerify} {
			t.Run(string(mode), func(t *testing.T) {
				st := newStage(t, at(t, server))
				if err := st.ensure(st.plan(Settings{DeliveryLimit: 20, QuorumGroupSize: 1}, broker.Intent{})); err != nil {
					t.Fatal(err)
				}
				top := st.plan(Settings{Topology: mode, QuorumGroupSize: 3}, broker.Intent{})
				err := st.ensure(top)
				for _, text := range []string{
					fmt.Sprintf("queue %q exists with other arguments", st.name), fmt.Sprintf("queue %q exists with other arguments", st.name+".dlq"),
					"x-quorum-initial-group-size: these settings ask for '3', the server has '1'",
					"x-delivery-limit: 100", "topology: none", "delete the queue",
				} {
					if !strings.Contains(fmt.Sprint(err), text) {
						t.Errorf("%v\ndoes not say %q", err, text)
					}
				}
				if !errors.Is(err, broker.ErrInvalid) || !final(err) {
					t.Errorf("%v is not final", err)
				}
				top.mode = TopologyNone
				if err := st.ensure(top); err != nil {
					t.Errorf("topology none looks at the queue: %v", err)
				}
			})
		}
	})
}

// A queue of another kind, or one that is not durable, is a mismatch too. (A
// server 4.x has no quorum queue that is not durable, and deprecates others.)
func TestClassicQueueInPlaceOfAQuorumQueueIsAMismatch(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		st := newStage(t, at(t, server))
		if err := st.ensure(st.plan(Settings{QueueType: Classic}, broker.Intent{})); err != nil {
			t.Fatal(err)
		}
		err := st.ensure(st.plan(Settings{}, broker.Intent{}))
		mismatch, ok := errors.AsType[*MismatchError](err)
		if !ok || mismatch.Argument == "" {
			t.Errorf("a quorum queue is declared over a classic one: %v", err)
		}
	})
}

// Verifying makes nothing, and names all that is missing.
func TestVerifyMakesNothing(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		st := newStage(t, at(t, server))
		top := st.plan(Settings{Topology: TopologyVerify, Bindings: []Binding{{Exchange: st.name + "-x", Type: Fanout}}}, broker.Intent{Delays: []time.Duration{time.Second}})
		err := st.ensure(top)
		for _, name := range []string{st.name, st.name + ".dlq", st.name + ".retry.1000", st.name + "-x"} {
			if !strings.Contains(fmt.Sprint(err), fmt.Sprintf("%q: not found", name)) {
				t.Errorf("%v\ndoes not name %s", err, name)
			}
		}
		if !errors.Is(err, broker.ErrNotFound) || !final(err) || !strings.Contains(err.Error(), "topology: declare") {
			t.Errorf("%v is no final broker.ErrNotFound with a remedy", err)
		}
		for _, q := range top.queues {
			if st.exists(q.name) {
				t.Errorf("%s was made", q.name)
			}
		}
		top.mode = TopologyNone
		if err := st.ensure(top); err != nil || st.exists(st.name) {
			t.Errorf("topology none: %v", err)
		}
	})
}

// The longest delay is the server's bound: one millisecond more is refused by it.
func TestLongestDelayIsTheServersBound(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		st := newStage(t, at(t, server))
		top := st.plan(Settings{}, broker.Intent{Delays: []time.Duration{MaxDelay}})
		if err := st.ensure(top); err != nil {
			t.Fatal(err)
		}
		beyond := *top
		beyond.queues = []queue{{st.name + ".beyond", amqp.Table{"x-message-ttl": (MaxDelay + time.Millisecond).Milliseconds()}}}
		if err := st.ensure(&beyond); !errors.Is(err, broker.ErrInvalid) || !strings.Contains(err.Error(), "315360000001") {
			t.Errorf("a longer delay: %v", err)
		}
	})
}

// A message waits in its delay queue and comes back, on quorum and on classic
// queues; one that is refused goes to the dead-letter queue.
func TestDelayAndDeadLetterRoutes(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		for _, kind := range []QueueType{Quorum, Classic} {
			t.Run(string(kind), func(t *testing.T) {
				st := newStage(t, at(t, server))
				top := st.plan(Settings{QueueType: kind}, broker.Intent{Delays: []time.Duration{300 * time.Millisecond}})
				if err := st.ensure(top); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				queue, _ := top.rung(time.Millisecond)
				st.publish("", queue, nil)
				if _, ok := st.receive(st.name, 20*time.Second); !ok || time.Since(began) < 300*time.Millisecond {
					t.Errorf("came back (%v) after %s", ok, time.Since(began))
				}
				st.publish("", st.name, nil)
				ch := st.channel()
				d, ok, err := ch.Get(st.name, false)
				if err != nil || !ok {
					t.Fatalf("get: %v, %v", ok, err)
				}
				if err := d.Reject(false); err != nil {
					t.Fatal(err)
				}
				if _, ok := st.receive(top.deadLetter, 20*time.Second); !ok {
					t.Error("a refused message is not in the dead-letter queue")
				}
				_ = ch.Close()
			})
		}
	})
}

// Exchanges of each type are declared and feed the queue with what they are bound
// for, and with nothing else.
func TestBindingsRoute(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		st := newStage(t, at(t, server))
		x := func(kind string) string { return st.name + "-" + kind }
		region := map[string]string{"region": "eu", "kind": "refund"}
		top := st.plan(Settings{Bindings: []Binding{
			{Exchange: x("direct"), Type: Direct, RoutingKeys: []string{"a", "b"}},
			{Exchange: x("topic"), Type: Topic, RoutingKeys: []string{"refund.*.created", "audit.#"}},
			{Exchange: x("fanout"), Type: Fanout},
			{Exchange: x("all"), Type: Headers, Headers: region},
			{Exchange: x("any"), Type: Headers, Headers: region, Match: MatchAny},
			{Exchange: "amq.topic", Type: Topic, RoutingKeys: []string{st.name}},
			{Exchange: "amq.direct", RoutingKeys: []string{st.name}},
		}}, broker.Intent{})
		for range 2 {
			if err := st.ensure(top); err != nil {
				t.Fatal(err)
			}
		}
		top.mode = TopologyVerify
		if err := st.ensure(top); err != nil {
			t.Errorf("verify: %v", err)
		}
		eu, refund, us := amqp.Table{"region": "eu"}, amqp.Table{"region": "eu", "kind": "refund", "more": "x"}, amqp.Table{"region": "us"}
		for _, m := range []struct {
			exchange, key string
			headers       amqp.Table
			arrives       bool
		}{
			{x("direct"), "a", nil, true},
			{x("direct"), "b", nil, true},
			{x("direct"), "c", nil, false},
			{x("topic"), "refund.eu.created", nil, true},
			{x("topic"), "audit", nil, true},
			{x("topic"), "audit.x.y", nil, true},
			{x("topic"), "refund.created", nil, false},
			{x("fanout"), "whatever", nil, true},
			{x("all"), "all of them", refund, true},
			{x("all"), "one of two", eu, false},
			{x("any"), "any of them", eu, true},
			{x("any"), "none of them", us, false},
			{"amq.topic", st.name, nil, true},
			{"amq.direct", st.name, nil, true},
		} {
			st.publish(m.exchange, m.key, m.headers)
			if m.arrives {
				if d, ok := st.receive(st.name, 20*time.Second); !ok || string(d.Body) != m.key {
					t.Errorf("%s with key %q and %v: arrived %v, %q", m.exchange, m.key, m.headers, ok, d.Body)
				}
			}
		}
		if d, ok := st.receive(st.name, 100*time.Millisecond); ok {
			t.Errorf("%q arrived, which nothing is bound for", d.Body)
		}
	})
}

// An exchange that exists as another type is a mismatch; one that is only to be
// bound must be there.
func TestExchangeThatIsNotAsAskedFor(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		st := newStage(t, at(t, server))
		if err := st.ensure(st.plan(Settings{Bindings: []Binding{{Exchange: st.name + "-x", Type: Fanout}}}, broker.Intent{})); err != nil {
			t.Fatal(err)
		}
		err := st.ensure(st.plan(Settings{Bindings: []Binding{{Exchange: st.name + "-x", Type: Topic, RoutingKeys: []string{"#"}}}}, broker.Intent{}))
		mismatch, ok := errors.AsType[*MismatchError](err)
		if !ok || mismatch.Kind != "exchange" || mismatch.Argument != "type" || !strings.Contains(mismatch.Asked, "topic") || !strings.Contains(mismatch.Has, "fanout") {
			t.Errorf("a topic exchange over a fanout exchange: %v", err)
		}
		err = st.ensure(st.plan(Settings{Bindings: []Binding{{Exchange: st.name + "-none"}}}, broker.Intent{}))
		if !errors.Is(err, broker.ErrNotFound) || !strings.Contains(err.Error(), "an exchange needs its type") {
			t.Errorf("an exchange that does not exist: %v", err)
		}
	})
}

// A user without permissions is told which, in each mode that asks the server.
func TestUserWithoutPermissionIsTold(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		lab := faultlab.Servers(t, server)
		s := Settings{URL: broker.NewSecret(lab.Env("URL"))}
		st := newStage(t, s)
		if err := st.ensure(st.plan(Settings{}, broker.Intent{})); err != nil {
			t.Fatal(err)
		}
		user, password := st.name, rand.Text()
		for _, command := range [][]string{
			{"add_user", user, password},
			{"set_permissions", user, "^$", "^" + st.name, "^" + st.name},
		} {
			if out, err := lab.Ctl(t.Context(), command...); err != nil {
				t.Fatalf("%s: %v", out, err)
			}
		}
		t.Cleanup(func() {
			_, _ = lab.Ctl(context.WithoutCancel(t.Context()), "delete_user", user)
		})
		limited := s
		limited.URL = change(t, s.URL.Reveal(), func(u *url.URL) { u.User = url.UserPassword(user, password) })
		guest := newStage(t, limited)
		guest.name = st.name
		for _, mode := range []Topology{TopologyDeclare, TopologyVerify} {
			err := guest.ensure(plannedTopology(t, Settings{Topology: mode}, st.name, broker.Intent{}))
			for _, text := range []string{fmt.Sprintf("queue %q: access denied", st.name), "refused for user '" + user + "'", "permission to configure", "topology: none"} {
				if !strings.Contains(fmt.Sprint(err), text) {
					t.Errorf("%s: %v\ndoes not say %q", mode, err, text)
				}
			}
			if !errors.Is(err, broker.ErrAccessDenied) || !final(err) {
				t.Errorf("%s: %v is no final broker.ErrAccessDenied", mode, err)
			}
		}
		if err := guest.ensure(plannedTopology(t, Settings{Topology: TopologyNone}, st.name, broker.Intent{})); err != nil {
			t.Errorf("none: %v", err)
		}
	})
}

// The end of the connection is one temporary error, not one for each queue.
func TestLostConnectionIsOneTemporaryError(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		st := newStage(t, at(t, server))
		top := plannedTopology(t, Settings{}, st.name, broker.Intent{})
		opened := 0
		err := top.ensure(func() (*amqp.Channel, error) {
			opened++
			ch := st.channel()
			return ch, errors.Join(st.conn.Close())
		})
		if !errors.Is(err, broker.ErrDisconnected) || final(err) || opened != 1 || slices.Contains(strings.Split(err.Error(), "\n"), "") {
			t.Errorf("after %d channels: %v", opened, err)
		}
	})
}
