package middleware_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/middleware"
)

type refundV1 struct{ Euros int }

type refundV2 struct {
	Cents    int
	Currency string
}

func refundSchemas() []middleware.Schema {
	v1 := middleware.JSONSchema[refundV1]("refund", 1)
	v1.Upcast = middleware.Upcast(func(old refundV1) (refundV2, error) {
		if old.Euros < 0 {
			return refundV2{}, errors.New("negative amount")
		}
		return refundV2{Cents: 100 * old.Euros, Currency: "EUR"}, nil
	})
	return []middleware.Schema{v1, middleware.JSONSchema[refundV2]("refund", 2), middleware.JSONSchema[string]("", 0)}
}

func typed(typ string, version int, body string) *broker.Delivery {
	d := message("1", body)
	d.Type, d.SchemaVersion = typ, version
	return d
}

// The value that the handler reads is that of the newest version, whatever
// version was sent.
func TestDecodePutsTheNewestVersionIntoTheContext(t *testing.T) {
	var got []refundV2
	h := wrap(t, func(ctx context.Context, _ *broker.Delivery) error {
		if _, ok := middleware.Decoded[refundV1](ctx); ok {
			t.Error("there is a value of the old version")
		}
		got = append(got, middleware.MustDecoded[refundV2](ctx))
		return nil
	}, middleware.Decode(middleware.DecodeOptions{Schemas: refundSchemas()}))
	for _, d := range []*broker.Delivery{
		typed("refund", 1, `{"Euros": 2}`),
		typed("refund", 2, `{"Cents": 5, "Currency": "SEK", "Added": "later"}`),
	} {
		if err := h(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if want := (refundV2{200, "EUR"}); got[0] != want {
		t.Errorf("version 1 became %+v, want %+v", got[0], want)
	}
	if want := (refundV2{5, "SEK"}); got[1] != want {
		t.Errorf("version 2 became %+v, want %+v", got[1], want)
	}
}

// What does not decode fails with class format, and the error quotes no body.
func TestUndecodableBodyIsAFormatFailure(t *testing.T) {
	ran := false
	h := wrap(t, func(context.Context, *broker.Delivery) error {
		ran = true
		return nil
	}, middleware.Decode(middleware.DecodeOptions{Schemas: refundSchemas()}))
	for _, body := range []string{"", "{", "secret", `{"Cents": "secret"}`, `{"Cents": 1} secret`, `{"Cents": 4111.5}`, "\xff\xfe"} {
		err := h(t.Context(), typed("refund", 2, body))
		wantClass(t, err, failure.ClassFormat)
		if text := fmt.Sprint(err); strings.Contains(text, "secret") || strings.Contains(text, "4111") {
			t.Errorf("%v quotes the body", err)
		}
	}
	wantClass(t, h(t.Context(), typed("refund", 1, `{"Euros": -1}`)), failure.ClassFormat)
	if ran {
		t.Error("the handler ran")
	}
}

// Peer trap 22: during a rolling deployment messages of a new type or version
// reach old consumers. They are never discarded: they come back until a consumer
// that knows them is there, and when none is for a day they are dead-lettered.
func TestUnknownTypeOrVersionIsReleasedAndNeverDiscarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := wrap(t, succeed, middleware.Decode(middleware.DecodeOptions{Schemas: refundSchemas()}))
		unknown := []*broker.Delivery{typed("refund", 3, "{}"), typed("refund", 0, "{}"), typed("payment", 1, "{}")}
		for _, d := range unknown {
			for range 24*60 - 1 {
				wantReleased(t, h(t.Context(), d), time.Minute, 66*time.Second)
				time.Sleep(time.Second)
			}
			d.PublishedAt = time.Now().Add(-24 * time.Hour)
			wantDead(t, h(t.Context(), d), failure.ClassFormat)
		}
	})
}

// Where the age cannot be told nothing would bound the return, so the message
// goes to the dead letters at once.
func TestUnknownTypeWithoutAnAgeIsDeadLettered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := wrap(t, succeed, middleware.Decode(middleware.DecodeOptions{Schemas: refundSchemas()}))
		for _, published := range []time.Time{{}, time.Now().Add(2 * time.Hour)} {
			d := typed("payment", 1, "{}")
			d.PublishedAt = published
			wantDead(t, h(t.Context(), d), failure.ClassFormat)
		}
		d := typed("payment", 1, "{}")
		d.PublishedAt = time.Now().Add(time.Minute) // a clock that is a little off
		wantReleased(t, h(t.Context(), d), time.Minute, 66*time.Second)
	})
}

// The policy can be to dead-letter at once.
func TestUnknownTypeCanBeDeadLetteredAtOnce(t *testing.T) {
	h := wrap(t, succeed, middleware.Decode(middleware.DecodeOptions{Schemas: refundSchemas(), UnknownFor: -1}))
	wantDead(t, h(t.Context(), typed("payment", 1, "{}")), failure.ClassFormat)
}

// Messages that state no type are decoded when a schema says so.
func TestMessageWithoutATypeHasASchemaToo(t *testing.T) {
	h := wrap(t, func(ctx context.Context, _ *broker.Delivery) error {
		if s := middleware.MustDecoded[string](ctx); s != "x" {
			t.Errorf("decoded to %q", s)
		}
		return nil
	}, middleware.Decode(middleware.DecodeOptions{Schemas: refundSchemas()}))
	if err := h(t.Context(), message("1", `"x"`)); err != nil {
		t.Error(err)
	}
}

// To ask for a type that was not decoded is a fault in the program, which says
// both types.
func TestMustDecodedPanicsWithBothTypes(t *testing.T) {
	defer func() {
		text := fmt.Sprint(recover())
		if !strings.Contains(text, "refundV1") || !strings.Contains(text, "refundV2") {
			t.Errorf("panic says %q", text)
		}
	}()
	h := wrap(t, func(ctx context.Context, _ *broker.Delivery) error {
		middleware.MustDecoded[refundV1](ctx)
		return nil
	}, middleware.Decode(middleware.DecodeOptions{Schemas: refundSchemas()}))
	_ = h(t.Context(), typed("refund", 2, "{}"))
}

// An upcast on the wrong type is an error that names both.
func TestUpcastOfTheWrongTypeIsAnError(t *testing.T) {
	schemas := refundSchemas()
	schemas[0].Decode = func([]byte) (any, error) { return 1, nil }
	err := wrap(t, succeed, middleware.Decode(middleware.DecodeOptions{Schemas: schemas}))(t.Context(), typed("refund", 1, "{}"))
	if text := fmt.Sprint(err); !strings.Contains(text, "int") || !strings.Contains(text, "refundV1") {
		t.Errorf("got %v", err)
	}
}

// Every fault in the options is reported at once.
func TestDecodeReportsEveryFault(t *testing.T) {
	wantFaults(t, middleware.Decode(middleware.DecodeOptions{UnknownDelay: -1}).Err, "UnknownDelay", "Schemas")
	schemas := append(refundSchemas(), middleware.Schema{Type: "x", Version: -1},
		middleware.JSONSchema[refundV2]("refund", 2), middleware.JSONSchema[refundV1]("gap", 1))
	schemas[5].Upcast = schemas[0].Upcast
	wantFaults(t, middleware.Decode(middleware.DecodeOptions{Schemas: schemas}).Err,
		"Schemas[3].Version", "Schemas[3].Decode", "Schemas[4]", "Schemas[5].Upcast")
}

// Any bytes decode or fail with class format; nothing else.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"", "{", `{"Euros": 2}`, `{"Euros": -2}`, `{"Cents": 1, "Currency": "SEK"}`, `{"Cents": 1`, "null", "\xff"} {
		f.Add("refund", 1, []byte(seed))
		f.Add("refund", 2, []byte(seed))
		f.Add("", 0, []byte(seed))
		f.Add("other", -7, []byte(seed))
	}
	h := wrap(f, func(ctx context.Context, d *broker.Delivery) error {
		if !json.Valid(d.Body) {
			return fmt.Errorf("invalid JSON reached the handler: %q", d.Body)
		}
		return nil
	}, middleware.Decode(middleware.DecodeOptions{Schemas: refundSchemas()}))
	f.Fuzz(func(t *testing.T, typ string, version int, body []byte) {
		d := message("1", "")
		d.Type, d.SchemaVersion, d.Body = typ, version, body
		err := h(t.Context(), d)
		if err != nil && outcomeOf(err) == nil {
			wantClass(t, err, failure.ClassFormat)
		}
	})
}
