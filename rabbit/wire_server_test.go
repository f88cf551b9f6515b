package rabbit

import (
	"math"
	"math/rand/v2"
	"net"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/internal/faultlab"
)

// wireServers are the variables that say where servers are: the oldest line that is
// supported, and the current one where there is one.
var wireServers = []string{"ANYQUEUE_RABBITMQ_URL", "ANYQUEUE_RABBITMQ4_URL"}

// wire is a bare client on a queue of its own: no line of the adapter but its encoding.
type wire struct {
	*testing.T
	ch    *amqp.Channel
	queue string
	user  string
	sent  *recorder
}

// onWires runs f with a server of each line.
func onWires(t *testing.T, args amqp.Table, f func(w *wire)) {
	t.Helper()
	for i, variable := range wireServers {
		t.Run(strings.TrimSuffix(variable, "_URL"), func(t *testing.T) {
			if i > 0 && os.Getenv(variable) == "" && os.Getenv(wireServers[0]) != "" {
				t.Skipf("%s is not set: this line of the server is tested where both are up", variable)
			}
			w := &wire{T: t, sent: new(recorder)}
			url := faultlab.Need(t, variable)
			u, err := amqp.ParseURI(url)
			if err != nil {
				t.Fatalf("%s: %v", variable, err)
			}
			w.user = u.Username
			c, err := amqp.DialConfig(url, amqp.Config{Dial: w.sent.dial})
			if err != nil {
				t.Fatalf("dial %s: %v", variable, err)
			}
			t.Cleanup(func() { _ = c.Close() })
			if w.ch, err = c.Channel(); err != nil {
				t.Fatal(err)
			}
			if err := w.ch.Confirm(false); err != nil {
				t.Fatal(err)
			}
			w.queue = "wire." + identity(t)
			w.declare(w.queue, args)
			f(w)
		})
	}
}

func (w *wire) declare(queue string, args amqp.Table) {
	w.Helper()
	if _, err := w.ch.QueueDeclare(queue, true, false, false, false, args); err != nil {
		w.Fatalf("declare %s: %v", queue, err)
	}
	w.Cleanup(func() {
		if _, err := w.ch.QueueDelete(queue, false, false, false); err != nil {
			w.Errorf("delete %s: %v", queue, err)
		}
	})
}

func (w *wire) publish(p amqp.Publishing) {
	w.Helper()
	w.publishTo(w.queue, p)
}

func (w *wire) publishTo(queue string, p amqp.Publishing) {
	w.Helper()
	confirmation, err := w.ch.PublishWithDeferredConfirm("", queue, true, false, p)
	if err != nil {
		w.Fatalf("publish %+v: %v", p, err)
	}
	if ok, err := confirmation.WaitContext(w.Context()); !ok || err != nil {
		w.Fatalf("publish: confirmed %v, %v", ok, err)
	}
}

// get takes the next message of a queue; it is acked at once.
func (w *wire) get(queue string) *amqp.Delivery {
	w.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		d, ok, err := w.ch.Get(queue, true)
		if err != nil {
			w.Fatalf("get from %s: %v", queue, err)
		}
		if ok {
			return &d
		}
	}
	w.Fatalf("nothing arrived in %s", queue)
	return nil
}

func quorum() amqp.Table { return amqp.Table{"x-queue-type": "quorum"} }

// Whatever bytes a message holds, real servers carry it, and so they do its copies.
func TestServersCarryAnyMessageAndItsCopies(t *testing.T) {
	onWires(t, quorum(), func(w *wire) {
		for seed := range uint64(60) {
			m := anyMessage(rand.New(rand.NewPCG(seed, 3)))
			w.publish(mustEncode(w, m))
			rec := aRecord("refused")
			for attempt := 2; attempt < 5; attempt++ {
				d := w.get(w.queue)
				got, f := received(d)
				wantMessage(w, got, m)
				if attempt > 2 && (f.attempt != attempt-1 || !reflect.DeepEqual(f.failure, rec)) {
					w.Fatalf("facts are %+v, want attempt %d and the record", f, attempt-1)
				}
				w.publish(copyOf(d, attempt, rec))
			}
			w.get(w.queue)
		}
	})
}

// All types that a table can hold come back from a server as they went, through a copy,
// too, together with every property.
func TestServersKeepNativeTypesThroughACopy(t *testing.T) {
	onWires(t, quorum(), func(w *wire) {
		p := amqp.Publishing{
			ContentType: "application/json", ContentEncoding: "gzip", DeliveryMode: amqp.Persistent, Priority: 4, CorrelationId: "c", ReplyTo: "r",
			MessageId: "id", Timestamp: time.Unix(1700000000, 0), Type: "t", UserId: w.user, AppId: "a", Body: []byte("b"), Expiration: "3600000",
			Headers: amqp.Table{
				"t": true, "B": uint8(200), "b": int8(-3), "s": int16(-300), "u": uint16(60000), "I": int32(-70000), "i": uint32(math.MaxUint32),
				"l": int64(math.MinInt64), "f": float32(0.1), "d": math.Pi, "D": amqp.Decimal{Scale: 2, Value: 12345}, "S": "text", "x": []byte{0, 0xff},
				"T": time.Unix(1600000000, 0), "V": nil, "A": []any{int32(1), "x", nil, []any{true}}, "F": amqp.Table{"n": amqp.Table{"deep": int64(1)}},
				"CC": []any{w.queue + ".copy"},
			},
		}
		w.declare(w.queue+".copy", quorum())
		w.publish(p)
		first := w.get(w.queue)
		w.get(w.queue + ".copy")
		want, _ := received(first)
		w.publish(copyOf(first, 2, nil))
		d := w.get(w.queue)
		got, f := received(d)
		wantMessage(w, got, want)
		if f.attempt != 2 {
			w.Errorf("attempt of the copy is %d, want 2", f.attempt)
		}
		if d2, ok, err := w.ch.Get(w.queue+".copy", true); ok || err != nil {
			w.Errorf("the copy went to the CC queue again: %+v, %v", d2.Headers, err)
		}
		restore(d)
		delete(d.Headers, headerAttempt)
		delete(d.Headers, headerUser)
		for _, h := range []amqp.Table{d.Headers, first.Headers} {
			delete(h, headerDelivered)
			delete(h, "x-acquired-count")
		}
		if !reflect.DeepEqual(d.Headers, first.Headers) {
			w.Errorf("headers of the copy are\n%#v, want\n%#v", d.Headers, first.Headers)
		}
		if d.UserId != w.user || d.ContentType != p.ContentType || d.ContentEncoding != p.ContentEncoding || d.Priority != p.Priority ||
			d.CorrelationId != p.CorrelationId || d.ReplyTo != p.ReplyTo || d.AppId != p.AppId || d.Type != p.Type || !d.Timestamp.Equal(p.Timestamp) || d.Expiration != "" {
			w.Errorf("the copy is %+v, want the properties of %+v without expiration", d, p)
		}
	})
}

// A message that exceeds its delivery limit is dead-lettered by the server, and its record
// says so, not that it came through a delay queue before; an earlier record of ours goes on.
func TestServersTellWhyTheyDeadLettered(t *testing.T) {
	const limit = 2
	args := amqp.Table{"x-queue-type": "quorum", "x-delivery-limit": int64(limit), "x-dead-letter-exchange": "", "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
	dead := "wire.dead." + identity(t)
	args["x-dead-letter-routing-key"] = dead
	onWires(t, args, func(w *wire) {
		w.declare(dead, quorum())
		m := &broker.Message{ID: "id", PublishedAt: time.Now(), Headers: broker.Headers{{Name: "b", Value: "1"}, {Name: "a", Value: "2"}}}
		delay := w.queue + ".delay"
		w.declare(delay, amqp.Table{
			"x-queue-type": "quorum", "x-message-ttl": int64(20), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": w.queue,
			"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish",
		})
		p := copyOf(arrived(w, mustEncode(w, m)), 2, aRecord("refused"))
		p.Headers[headerDelivered] = int64(99) // as tools that move messages leave it
		w.publishTo(delay, p)
		for i := range limit + 1 {
			var d amqp.Delivery
			for ok := false; !ok; time.Sleep(time.Millisecond) {
				var err error
				if d, ok, err = w.ch.Get(w.queue, false); err != nil {
					w.Fatal(err)
				}
			}
			_, f := received(&d)
			if f.deliveries != i || !f.deliveriesKnown && i > 0 {
				w.Errorf("delivery %d says %+v, want %d deliveries before it", i+1, f, i)
			}
			if err := d.Nack(false, true); err != nil {
				w.Fatal(err)
			}
		}
		d := w.get(dead)
		got, f := received(d)
		wantMessage(w, got, m)
		rec := deathRecord(d, f.attempt, f.failure)
		if rec == nil || rec.Class != failure.ClassCrash || rec.Count != 2 || rec.Source != w.queue || time.Since(rec.Last).Abs() > time.Minute {
			w.Errorf("record is %+v, want a crash in %s after one failure", rec, w.queue)
		}
	})
}

// headerBytes is exact, because what it lets through must not end the connection, and a
// message of the largest size that encode allows is carried.
func TestTheSizeOfHeadersIsWhatIsSent(t *testing.T) {
	onWires(t, quorum(), func(w *wire) {
		for seed := range uint64(40) {
			p := mustEncode(w, anyMessage(rand.New(rand.NewPCG(seed, 4))))
			if seed%2 == 0 {
				if p.Headers == nil {
					p.Headers = amqp.Table{}
				}
				for name, value := range (&source{[]byte(anyText(rand.New(rand.NewPCG(seed, 5)), 400))}).table(150) {
					if plainName(name) {
						p.Headers[name] = value
					}
				}
				p.ContentType, p.Priority, p.Expiration, p.AppId, p.UserId = "text/plain", 3, "600000", "app", ""
			}
			w.sent.reset()
			w.publish(p)
			if have, want := headerBytes(&p), w.sent.header(); have != want {
				w.Fatalf("headerBytes is %d, sent were %d for %+v", have, want, p)
			}
			w.get(w.queue)
		}
		m := &broker.Message{ID: "id", PublishedAt: time.Unix(1700000000, 0), Headers: broker.Headers{{Name: "h"}}}
		base := mustEncode(w, m)
		m.Headers[0].Value = strings.Repeat("v", maxPublished-headerBytes(&base))
		w.publish(mustEncode(w, m))
		rec := aRecord("big")
		rec.Stack = strings.Repeat("line\n", 2000)
		d := w.get(w.queue)
		w.publish(copyOf(d, 2, rec))
		d = w.get(w.queue)
		got, f := received(d)
		wantMessage(w, got, m)
		if f.failure == nil {
			w.Error("the largest message lost its record")
		}
	})
}

// recorder keeps what a connection writes.
type recorder struct {
	net.Conn
	mu   sync.Mutex
	sent []byte
}

func (r *recorder) dial(network, address string) (net.Conn, error) {
	c, err := net.DialTimeout(network, address, 10*time.Second)
	r.Conn = c
	return r, err
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	r.sent = append(r.sent, b...)
	r.mu.Unlock()
	return r.Conn.Write(b)
}

func (r *recorder) reset() {
	r.mu.Lock()
	r.sent = r.sent[:0]
	r.mu.Unlock()
}

// header returns the size of the first frame of properties and headers.
func (r *recorder) header() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for b := r.sent; len(b) >= 8; {
		size := 8 + int(b[3])<<24 + int(b[4])<<16 + int(b[5])<<8 + int(b[6])
		if b[0] == 2 {
			return size
		}
		b = b[min(size, len(b)):]
	}
	return 0
}
