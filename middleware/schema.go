package middleware

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/anyqueue/anyqueue/broker"
)

// Schema is one version of one type of message that a program understands. Make
// one with [JSONSchema], or state Decode for another encoding.
type Schema struct {
	// Type and Version are those of broker.Message. "" and 0 are for messages that
	// state none. Version is at least 0.
	Type    string
	Version int
	// Decode turns a body into a value; required. Its error says what is wrong
	// without quoting the body. It is called from many goroutines, keeps no part of
	// body, and does not change it.
	Decode func(body []byte) (any, error)
	// Upcast turns the value into that of Version + 1, which must be among the
	// schemas too, so that the handler knows the newest version only. Optional; see
	// [Upcast].
	Upcast func(v any) (any, error)
}

// JSONSchema is a schema of JSON bodies that decode to a T. Unknown fields are
// ignored, so that a publisher can add fields without a new version.
func JSONSchema[T any](typ string, version int) Schema {
	return Schema{Type: typ, Version: version, Decode: func(body []byte) (any, error) {
		var v T
		err := json.Unmarshal(body, &v)
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			wrong.Value, _, _ = strings.Cut(wrong.Value, " ") // "number 4111...": the body is not to be quoted
		}
		if err != nil {
			return nil, err
		}
		return v, nil
	}}
}

// Upcast makes a [Schema].Upcast of a function on the types of two versions:
//
//	v1 := middleware.JSONSchema[RefundV1]("refund.requested", 1)
//	v1.Upcast = middleware.Upcast(func(old RefundV1) (RefundV2, error) { ... })
func Upcast[From, To any](f func(From) (To, error)) func(any) (any, error) {
	return func(v any) (any, error) {
		from, ok := v.(From)
		if !ok {
			return nil, fmt.Errorf("upcast: the schema decodes to %T, its upcast takes %T", v, from)
		}
		return f(from)
	}
}

type schemaID struct {
	typ     string
	version int
}

func (id schemaID) String() string { return fmt.Sprintf("%q version %d", id.typ, id.version) }

func (s *Schema) id() schemaID { return schemaID{s.Type, s.Version} }

// value decodes body and brings it to the newest version.
func (s *Schema) value(body []byte, schemas map[schemaID]*Schema) (any, error) {
	v, err := s.Decode(body)
	for err == nil && s.Upcast != nil {
		if v, err = s.Upcast(v); err != nil {
			return nil, fmt.Errorf("upcast from version %d: %w", s.Version, err)
		}
		s = schemas[schemaID{s.Type, s.Version + 1}]
	}
	return v, err
}

// schemas checks all and returns them by type and version.
func (f *faults) schemas(all []Schema) map[schemaID]*Schema {
	f.check(len(all) > 0, "Schemas", nil, "is empty; list the types and versions that the handler understands")
	byID := make(map[schemaID]*Schema, len(all))
	for i, s := range all {
		path := fmt.Sprintf("Schemas[%d]", i)
		f.check(s.Version >= 0, path+".Version", s.Version, "must be at least 0, which stands for messages that state none")
		f.check(s.Decode != nil, path+".Decode", nil, "is nil; give it a function, or use JSONSchema")
		if _, twice := byID[s.id()]; twice {
			f.check(false, path, s.id(), "is listed twice; remove one")
		}
		byID[s.id()] = &s
	}
	for i, s := range all {
		if _, next := byID[schemaID{s.Type, s.Version + 1}]; s.Upcast != nil && !next {
			*f = append(*f, &broker.FieldError{
				Field: fmt.Sprintf("Schemas[%d].Upcast", i), Value: s.id(),
				Problem: fmt.Sprintf("leads to version %d, which is not listed; add it", s.Version+1),
			})
		}
	}
	return byID
}
