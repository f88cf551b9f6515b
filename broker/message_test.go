package broker_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/anyqueue/anyqueue/broker"
)

// Prepare gives what is missing and keeps what is there, so that publishing again
// publishes the same identity.
func TestPrepareAssignsIdentityAndTimeOnce(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))
	m := &broker.Message{}
	for range 2 {
		if err := broker.Prepare(m, now); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Hour)
	}
	id, err := uuid.Parse(m.ID)
	if err != nil || id.Version() != 7 {
		t.Errorf("ID %q: %v", m.ID, err)
	}
	if want := time.Date(2026, 1, 2, 2, 4, 5, 6, time.UTC); m.PublishedAt != want {
		t.Errorf("PublishedAt %v, want %v", m.PublishedAt, want)
	}
	if err := broker.Prepare(nil, now); !errors.Is(err, broker.ErrInvalid) {
		t.Errorf("nil: %v", err)
	}
}

// Identities are unique and sort in the order of their creation.
func TestIdentitiesAreUniqueAndSortByTime(t *testing.T) {
	var ids []string
	for range 10_000 {
		m := &broker.Message{}
		if err := broker.Prepare(m, time.Now()); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.ID)
	}
	if !slices.IsSorted(ids) {
		t.Error("not in order")
	}
	if n := len(slices.Compact(ids)); n != 10_000 {
		t.Errorf("%d different of 10000", n)
	}
}

// A clone shares nothing with its original.
func TestCloneSharesNothing(t *testing.T) {
	m := &broker.Message{ID: "1", Headers: broker.Headers{{Name: "a", Value: "1"}}, Body: []byte("body")}
	c := m.Clone()
	c.Body[0], c.Headers[0].Value = 'X', "2"
	if string(m.Body) != "body" || m.Headers.Get("a") != "1" {
		t.Errorf("the original changed: %+v", m)
	}
	if m.Size() != len("1")+len("a")+len("1")+len("body") {
		t.Errorf("size %d", m.Size())
	}
	if (&broker.Message{}).Clone().Body != nil {
		t.Error("no body became an empty one")
	}
}

// Headers keep their order and their repetitions; Set leaves one.
func TestHeadersKeepOrderAndRepetitions(t *testing.T) {
	var h broker.Headers
	h.Add("a", "1")
	h.Add("b", "2")
	h.Add("a", "3")
	if v, ok := h.Lookup("a"); v != "3" || !ok {
		t.Errorf("Lookup: %q %v", v, ok)
	}
	if _, ok := h.Lookup("A"); ok {
		t.Error("names are not compared exactly")
	}
	h.Set("a", "4")
	if want := (broker.Headers{{"a", "4"}, {"b", "2"}}); !slices.Equal(h, want) {
		t.Errorf("after Set: %v", h)
	}
	h.Set("c", "5")
	h.Del("a")
	if want := (broker.Headers{{"b", "2"}, {"c", "5"}}); !slices.Equal(h, want) {
		t.Errorf("after Del: %v", h)
	}
}

func BenchmarkPrepare(b *testing.B) {
	b.ReportAllocs()
	now := time.Now()
	for b.Loop() {
		m := broker.Message{}
		if err := broker.Prepare(&m, now); err != nil {
			b.Fatal(err)
		}
	}
}

// The time of publication has the millisecond that the assigned id states, so that
// it can be read from there where a broker carries seconds only.
func TestPrepareStatesTheMillisecondOfTheID(t *testing.T) {
	for range 20_000 {
		var m broker.Message
		if err := broker.Prepare(&m, time.Now()); err != nil {
			t.Fatal(err)
		}
		id, err := uuid.Parse(m.ID)
		if err != nil {
			t.Fatal(err)
		}
		if s, ns := id.Time().UnixTime(); !m.PublishedAt.Truncate(time.Millisecond).Equal(time.Unix(s, ns).Truncate(time.Millisecond)) {
			t.Fatalf("id %s states %s, the message %s", m.ID, time.Unix(s, ns).UTC(), m.PublishedAt)
		}
	}
}
