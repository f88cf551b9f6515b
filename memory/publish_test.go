package memory

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// Publish gives a message its identity and time, which the caller can read, and
// stores a copy.
func TestPublishAssignsIdentityAndCopies(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		m := &broker.Message{Body: []byte("body"), Headers: broker.Headers{{Name: "h", Value: "v"}}}
		if err := b.p.Publish(b.Context(), "q", m); err != nil {
			b.Fatal(err)
		}
		if m.ID == "" || !m.PublishedAt.Equal(time.Now()) {
			b.Fatalf("published as %+v", m)
		}
		id := m.ID
		copy(m.Body, "XXXX")
		m.Headers[0].Value, m.ID = "X", "X"
		d := b.one(b.s)
		if string(d.Body) != "body" || d.Headers.Get("h") != "v" || d.ID != id || d.PublishedAt.Location() != time.UTC {
			b.Fatalf("received %+v", d.Message)
		}
	})
}

// An empty body stays empty and a missing one missing.
func TestEmptyAndMissingBodiesAreKept(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		if err := b.p.Publish(b.Context(), "q", &broker.Message{Body: []byte{}}, &broker.Message{}); err != nil {
			b.Fatal(err)
		}
		ds := b.receive(b.s, 2)
		if ds[0].Body == nil || len(ds[0].Body) != 0 || ds[1].Body != nil {
			b.Fatalf("bodies are %#v and %#v", ds[0].Body, ds[1].Body)
		}
	})
}

// Of several messages exactly those that failed are named, in order, and the
// others are stored.
func TestPublishNamesExactlyThoseThatFailed(t *testing.T) {
	inBubble(t, Queue{MaxMessageBytes: 10, MaxMessages: 100}, func(b *bench) {
		ms := messages(130)
		ms[3] = nil
		ms[70] = &broker.Message{Body: make([]byte, 11)}
		err := b.p.Publish(b.Context(), "q", ms...)
		var failed *broker.PublishError
		if !errors.As(err, &failed) {
			b.Fatal(err)
		}
		want := []int{3, 70}
		for i := 102; i < 130; i++ {
			want = append(want, i)
		}
		var got []int
		for _, f := range failed.Failed {
			got = append(got, f.Index)
			is := broker.ErrFull
			switch f.Index {
			case 3:
				is = broker.ErrInvalid
			case 70:
				is = broker.ErrTooLarge
			}
			b.wantIs(f.Err, is)
		}
		if !slices.Equal(got, want) {
			b.Fatalf("failed are %v, want %v", got, want)
		}
		b.wantStats("q", 100, 0, 0, 0)
	})
}

// A queue, and the broker as a whole, is full until something is consumed.
func TestFullQueueTakesMoreWhenItWasConsumed(t *testing.T) {
	for name, c := range map[string]struct {
		o Options
		q Queue
	}{
		"MaxMessages":   {q: Queue{MaxMessages: 1}},
		"MaxBytes":      {q: Queue{MaxBytes: 5}},
		"broker's":      {o: Options{MaxBytes: keeping + 5}},
		"not a limit":   {o: Options{MaxBytes: -1}, q: Queue{MaxMessageBytes: -1}},
		"default limit": {},
	} {
		t.Run(name, func(t *testing.T) {
			b := New(c.o)
			defer b.Close()
			c.q.Name = "q"
			if err := b.Declare(c.q); err != nil {
				t.Fatal(err)
			}
			s, err := b.Subscribe("q", SubscribeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			publish := func() error {
				return b.Publisher().Publish(t.Context(), "q", &broker.Message{ID: "i", Body: []byte("body")})
			}
			if err := publish(); err != nil {
				t.Fatal(err)
			}
			ds, err := s.Receive(t.Context(), broker.Credit{Messages: 1, Bytes: 1})
			if err != nil {
				t.Fatal(err)
			}
			unlimited := name == "not a limit" || name == "default limit"
			if err := publish(); errors.Is(err, broker.ErrFull) == unlimited {
				t.Fatalf("second message: %v", err)
			}
			if err := s.Settle(t.Context(), []broker.Settlement{{Delivery: &ds[0], Action: broker.Ack}}); err != nil {
				t.Fatal(err)
			}
			if err := publish(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// What a publisher is refused says where and what to do.
func TestPublishIsRefusedWithReasons(t *testing.T) {
	inBubble(t, Queue{MaxBytes: 100}, func(b *bench) {
		b.wantIs(b.p.Publish(b.Context(), "nowhere", &broker.Message{}), broker.ErrNotFound)
		b.wantIs(b.p.Publish(b.Context(), "q", &broker.Message{Body: make([]byte, 101)}), broker.ErrTooLarge) // it never fits
		ctx, cancel := context.WithCancel(b.Context())
		cancel()
		b.wantIs(b.p.Publish(ctx, "q", &broker.Message{}), context.Canceled)
		if err := b.p.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		err := b.p.Publish(b.Context(), "q", &broker.Message{})
		b.wantIs(err, broker.ErrClosed)
		if !strings.Contains(err.Error(), `"q"`) {
			b.Fatalf("%q does not name the queue", err)
		}
		b.wantStats("q", 0, 0, 0, 0)
	})
}

// Copies of any sizes share nothing: writing to one, or appending, never reaches
// another.
func TestCopiesShareNothing(t *testing.T) {
	inBubble(t, Queue{}, func(b *bench) {
		for seed := range uint64(50) {
			r := rand.New(rand.NewPCG(seed, 1))
			ms := make([]*broker.Message, 1+r.IntN(200))
			for i := range ms {
				ms[i] = &broker.Message{Body: make([]byte, r.IntN(1+r.IntN(3*ownBytes))), Headers: make(broker.Headers, r.IntN(5))}
				for j := range ms[i].Body {
					ms[i].Body[j] = byte(i)
				}
				for j := range ms[i].Headers {
					ms[i].Headers[j].Name = string(rune(i))
				}
			}
			if err := b.p.Publish(b.Context(), "q", ms...); err != nil {
				b.Fatal(err)
			}
			var ds []broker.Delivery
			for len(ds) < len(ms) {
				more, err := b.s.Receive(b.Context(), broker.Credit{Messages: 1 + r.IntN(200), Bytes: 1 << 30})
				if err != nil {
					b.Fatal(err)
				}
				for i := range more {
					d := &more[i]
					if want := ms[len(ds)+i]; !slices.Equal(d.Body, want.Body) || !slices.Equal(d.Headers, want.Headers) {
						b.Fatalf("seed %d: delivery %d is not what was published", seed, len(ds)+i)
					}
					for j := range d.Body {
						d.Body[j] = 0xee
					}
					clear(d.Headers)
					_ = append(d.Body, 0xdd)
					_ = append(d.Headers, broker.Header{Name: "scribble"})
				}
				ds = append(ds, more...)
			}
			b.ack(b.s, ds...)
		}
	})
}
