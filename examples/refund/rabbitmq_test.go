package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/internal/faultlab"
)

const onRabbitMQ = "rabbitmq.yaml"

// unordered changes the configuration to one without order, with delay queues that a
// test can delete.
var unordered = []string{"ordering: key", "ordering: none", "connect_timeout: 10s", "connect_timeout: 10s\n  delays: [100ms, 500ms, 2s]"}

// rabbitQueue points rabbitmq.yaml at the test's server and at a queue of the test's
// own, which is deleted at the end.
func rabbitQueue(t *testing.T, variable string) (server, queue string) {
	t.Helper()
	server = faultlab.Need(t, variable)
	queue = "refund-test-" + strings.ToLower(rand.Text()[:10])
	t.Setenv("ANYQUEUE_RABBITMQ_URL", server)
	t.Setenv("REFUND_QUEUE", queue)
	t.Cleanup(func() {
		conn, err := amqp.Dial(server)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		ch, err := conn.Channel()
		if err != nil {
			t.Error(err)
			return
		}
		// Deleting what is not there is no fault.
		for _, name := range []string{queue, queue + ".dlq", queue + ".retry.100", queue + ".retry.500", queue + ".retry.2000"} {
			if _, err := ch.QueueDelete(name, false, false, false); err != nil {
				t.Error(err)
			}
		}
	})
	return server, queue
}

// runJSON runs the program on RabbitMQ and reads its report.
func runJSON(t *testing.T, args ...string) report {
	t.Helper()
	code, out, stderr := execute(t.Context(), nil, append([]string{"-config", onRabbitMQ, "-json"}, args...)...)
	if code != exitDone {
		t.Fatalf("exit code %d\n%s%s", code, out, stderr)
	}
	var r report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	return r
}

// The same job holds its promises on RabbitMQ, on both lines of servers, by naming
// another file. A second run on the same queue is not disturbed by what the first has
// left, which are its dead letters.
func TestRabbitMQHoldsEveryPromiseTwiceInARow(t *testing.T) {
	for name, variable := range map[string]string{"3": "ANYQUEUE_RABBITMQ_URL", "4": "ANYQUEUE_RABBITMQ4_URL"} {
		t.Run(name, func(t *testing.T) {
			rabbitQueue(t, variable)
			const orders = 300
			var found [2]int
			for i := range found {
				r := runJSON(t, "-orders", "300")
				if r.Broker != "rabbitmq" || r.Refunded < orders-6 || r.OverRefunded != 0 || len(r.Broken) > 0 || r.Strangers != 0 {
					t.Errorf("run %d: %+v", i+1, r)
				}
				if r.BreakerOpened == 0 {
					t.Errorf("run %d: the outage was not felt", i+1)
				}
				found[i] = deadTotal(r.DeadLetters)
			}
			if found[0] != found[1] || found[0] == 0 {
				t.Errorf("the runs report %v dead letters; they publish the same", found)
			}
		})
	}
}

// Without order per key retries go through the delay queues of the server, and the
// promises hold all the same.
func TestRabbitMQHoldsEveryPromiseThroughDelayQueues(t *testing.T) {
	rabbitQueue(t, "ANYQUEUE_RABBITMQ_URL")
	const orders = 200
	j := newJobFrom(t, onRabbitMQ, orders, 3, unordered...)
	o := do(t, t.Context(), j)
	if err := errors.Join(o.stopped, o.verify()); err != nil {
		t.Error(err)
	}
	r := newReport(o, nil)
	if total(r.Retries) == 0 {
		t.Errorf("no retry went through the server: %+v", r)
	}
}

// What a run that was interrupted has left in the queue is dead-lettered by the next
// one, counted apart, and disturbs nothing.
func TestMessagesOfAnInterruptedRunDisturbNothing(t *testing.T) {
	rabbitQueue(t, "ANYQUEUE_RABBITMQ_URL")
	j := newJobFrom(t, onRabbitMQ, 1, 1)
	worker, err := j.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const left = 40
	for i := range left {
		m := &broker.Message{ID: "other-" + string(rune('a'+i%26)) + string(rune('a'+i/26)), Key: "S-000001", Type: requestType, SchemaVersion: schemaVersion}
		if err := worker.Publisher().Publish(t.Context(), worker.Queue(), m); err != nil {
			t.Fatal(err)
		}
	}
	if err := worker.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := runJSON(t, "-orders", "60"); r.Strangers != left || deadTotal(r.DeadLetters) == 0 {
		t.Errorf("%d messages of others, want %d: %+v", r.Strangers, left, r)
	}
}

// A broker that nobody can reach, and one that refuses, end the program with a text
// that says what is wrong and never with the password. What has to be corrected in the
// configuration ends with another exit code than a broker that is away.
func TestBrokerThatIsAwayOrRefusesIsToldPlainly(t *testing.T) {
	server, queue := rabbitQueue(t, "ANYQUEUE_RABBITMQ_URL")
	const secret = "not-the-password-4711"
	change := func(edit func(*url.URL)) string {
		u, err := url.Parse(server)
		if err != nil {
			t.Fatal(err)
		}
		edit(u)
		return u.String()
	}
	// So that the queue exists, ordered.
	if code, _, stderr := execute(t.Context(), nil, "-config", onRabbitMQ, "-explain"); code != exitDone || stderr != "" {
		t.Fatalf("exit code %d, standard error %q", code, stderr)
	}
	with := func(change ...string) string {
		return strings.NewReplacer(change...).Replace(string(readConfig(t, onRabbitMQ)))
	}
	soon := with("connect_timeout: 10s", "connect_timeout: 1s\n  dial_timeout: 500ms")
	for name, tt := range map[string]struct {
		url, config string
		code        int
		want        []string
	}{
		"nobody listens": {
			change(func(u *url.URL) { u.Host = "127.0.0.1:1"; u.User = url.UserPassword("u", secret) }),
			soon, exitFailed,
			[]string{"127.0.0.1:1", "refused", "within 1s", "scripts/servers up"},
		},
		"wrong password": {
			change(func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), secret) }),
			"", exitUsage,
			[]string{"access denied", "user or password"},
		},
		"no such vhost":              {change(func(u *url.URL) { u.Path = "/no-such" }), "", exitUsage, []string{"access denied", "no-such", "create the vhost"}},
		"not an AMQP address":        {"http://u:" + secret + "@localhost/", "", exitUsage, []string{"rabbitmq.url", "amqp://"}},
		"queue with other arguments": {server, with(unordered...), exitUsage, []string{queue, "x-single-active-consumer"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("ANYQUEUE_RABBITMQ_URL", tt.url)
			file := onRabbitMQ
			if tt.config != "" {
				file = writeFile(t, "changed.yaml", tt.config)
			}
			start := time.Now()
			code, out, stderr := execute(t.Context(), nil, "-config", file, "-orders", "4")
			if code != tt.code || out != "" {
				t.Errorf("exit code %d, output %q; want %d and nothing", code, out, tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("standard error does not say %q:\n%s", want, stderr)
				}
			}
			if strings.Contains(stderr, secret) {
				t.Errorf("standard error tells the password:\n%s", stderr)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// A job whose connections are cut on the way ends well all the same.
func TestRabbitMQJobSurvivesCutConnections(t *testing.T) {
	server, _ := rabbitQueue(t, "ANYQUEUE_RABBITMQ_URL")
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := faultlab.NewProxy(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	u.Host = proxy.Addr()
	t.Setenv("ANYQUEUE_RABBITMQ_URL", u.String())
	j := newJobFrom(t, onRabbitMQ, 1000, 5)
	cuts := 0
	j.watch = func(ctx context.Context, _ *run) {
		for ; cuts < 3 && pause(ctx, 600*time.Millisecond) == nil; cuts++ {
			proxy.Cut()
		}
	}
	o := do(t, t.Context(), j)
	if err := errors.Join(o.stopped, o.verify()); err != nil {
		t.Errorf("after %d cuts: %v", cuts, err)
	}
	if cuts == 0 {
		t.Error("nothing was cut")
	}
}

// Both files have the same consumer: the broker is what differs.
func TestConsumerIsTheSameOnEveryBroker(t *testing.T) {
	consumer := func(file string) string {
		_, section, ok := strings.Cut(string(readConfig(t, file)), "\nconsumer:\n")
		if !ok {
			t.Fatalf("%s has no consumer", file)
		}
		lines := strings.Split(section, "\n")
		return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(strings.TrimSpace(l), "#") }), "\n")
	}
	if a, b := consumer("memory.yaml"), consumer(onRabbitMQ); a != b {
		t.Errorf("the consumers differ:\n%s\n%s", a, b)
	}
}
