package middleware

import (
	"context"
	"fmt"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/runtime"
)

// DecodeOptions configures [Decode]. Schemas is required.
type DecodeOptions struct {
	// Schemas are what this program understands; at least one, each type and
	// version once.
	Schemas []Schema
	// UnknownDelay is when a message of an unknown type or version comes again.
	// Default 1 min; positive.
	UnknownDelay time.Duration
	// UnknownFor is how old such a message may grow before it is dead-lettered,
	// counted from its first publication. Default 24 h: longer than a deployment
	// takes, rolled back and done again. Negative: dead-letter it at once.
	UnknownFor time.Duration
}

// maxClockSkew is how far in the future a publisher's clock may be before the
// age of its messages counts as unknown.
const maxClockSkew = time.Hour

func (o *DecodeOptions) validate() (map[schemaID]*Schema, error) {
	var f faults
	f.check(o.UnknownDelay >= 0, "UnknownDelay", o.UnknownDelay, "must be positive; leave it 0 for the default of 1m")
	defaultTo(&o.UnknownDelay, time.Minute)
	defaultTo(&o.UnknownFor, 24*time.Hour)
	return f.schemas(o.Schemas), f.err()
}

// Decode decodes the body by the message's Type and SchemaVersion and puts the
// value into the context, for [Decoded] to read.
//
// A body that does not decode fails with class format, which policy sends to the
// dead letters. A type or version that is not in Schemas may be known to the next
// release of this program, which is being rolled out right now: it is given back
// every UnknownDelay, with no attempt spent, until it is UnknownFor old, and then
// dead-lettered with class format. It is never discarded. A message whose age
// cannot be told, because PublishedAt is missing or lies more than an hour in the
// future, is dead-lettered at once: nothing would bound its return.
func Decode(o DecodeOptions) runtime.Middleware {
	m := runtime.Middleware{Name: "decode", Unique: true}
	schemas, err := o.validate()
	if err != nil {
		m.Err = err
		return m
	}
	m.Wrap = func(next runtime.Handler) runtime.Handler {
		return func(ctx context.Context, d *broker.Delivery) error {
			s, known := schemas[schemaID{d.Type, d.SchemaVersion}]
			if !known {
				return o.unknown(d, schemas, time.Now())
			}
			v, err := s.value(d.Body, schemas)
			if err != nil {
				return failure.Format(fmt.Errorf("decode a message of type %s: %w", s.id(), err))
			}
			return next(context.WithValue(ctx, decodedKey{}, v), d)
		}
	}
	return m
}

// unknown decides about a message that no schema describes.
func (o *DecodeOptions) unknown(d *broker.Delivery, schemas map[schemaID]*Schema, now time.Time) error {
	what := "type"
	for id := range schemas {
		if id.typ == d.Type {
			what = "version"
			break
		}
	}
	id := schemaID{d.Type, d.SchemaVersion}
	age := now.Sub(d.PublishedAt)
	var why string
	switch {
	case o.UnknownFor < 0:
		why = "UnknownFor says not to wait for a release that knows it"
	case d.PublishedAt.IsZero():
		why = "it does not say when it was published, so that it could wait for ever"
	case age < -maxClockSkew:
		why = "its time of publication lies in the future, so that it could wait for ever"
	case age >= o.UnknownFor:
		why = fmt.Sprintf("no release knew it within %s", o.UnknownFor)
	default:
		return runtime.Release(spread(o.UnknownDelay), fmt.Sprintf("schema %s of an unknown %s; waiting for a release that knows it", id, what))
	}
	return runtime.DeadLetter(failure.Format(fmt.Errorf(
		"schema %s of an unknown %s: %s; deploy a consumer that knows it and redrive the message", id, what, why)))
}

type decodedKey struct{}

// Decoded returns the value that [Decode] made of the message's body, and
// whether there is one of type T: where the schemas of a queue decode to several
// types, ask for each. After upcasting it is the newest.
func Decoded[T any](ctx context.Context) (T, bool) {
	v, ok := ctx.Value(decodedKey{}).(T)
	return v, ok
}

// MustDecoded is [Decoded] for a handler whose schemas all decode to T. It panics
// when there is no such value: a fault in the program, of class bug.
func MustDecoded[T any](ctx context.Context) T {
	v, ok := Decoded[T](ctx)
	if !ok {
		panic(fmt.Sprintf("middleware: the message was decoded to %T, not to %T; look at the schemas of middleware.Decode",
			ctx.Value(decodedKey{}), v))
	}
	return v
}
