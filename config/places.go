package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/anyqueue/anyqueue/broker"
)

// places remembers where in a file each value stands, so that a fault that is
// found after reading (by Validate, by the broker, by the runtime) still leads
// to its line.
type places struct {
	name    string           // of the file
	byPath  map[string]place // "" is the whole file
	secrets []broker.Secret  // values that no fault may quote
}

// place is where the value of a key stands.
type place struct{ line, column int }

// find returns the place of a key, or of the innermost section around it when
// the file does not give it.
func (p *places) find(path string) place {
	for {
		if found, ok := p.byPath[path]; ok {
			return found
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

// fault turns an error about a field into a fault at a key. typ is the key's
// type; it is nil when the error names a field that has no key, and path is the
// section around it.
func (p *places) fault(e *broker.FieldError, path string, typ reflect.Type) Fault {
	problem := e.Problem
	_, given := p.byPath[path]
	switch {
	case typ == nil:
		problem = e.Field + " " + problem
	case !given:
		problem = "is not given: " + problem
	case e.Value == nil:
	case kindOf(typ) == kindSecret:
		problem = "is refused: " + problem
	case reflect.TypeOf(e.Value).Kind() == reflect.String:
		problem = fmt.Sprintf("is %q: %s", e.Value, problem)
	default:
		problem = fmt.Sprintf("is %v: %s", e.Value, problem)
	}
	at := p.find(path)
	return Fault{File: p.name, Line: at.line, Column: at.column, Path: path, Problem: p.redact(problem), cause: e}
}

// redact takes secrets out of what others wrote: the error of a URL's parser
// quotes the URL with the password in it.
func (p *places) redact(text string) string {
	const shortest = 4 // replacing less would garble the text, and hide nothing
	for _, s := range p.secrets {
		plain := s.Reveal()
		if len(plain) < shortest {
			continue
		}
		text = strings.ReplaceAll(text, plain, s.String())
		if quoted := strconv.Quote(plain); quoted[1:len(quoted)-1] != plain {
			text = strings.ReplaceAll(text, quoted[1:len(quoted)-1], s.String())
		}
	}
	return text
}

// splitFields walks a tree of errors and returns the field errors in it, and
// what else there is.
func splitFields(err error) (fields []*broker.FieldError, rest []error) {
	if err == nil {
		return nil, nil
	}
	switch e := err.(type) { //nolint:errorlint // this walks the tree that errors.As would search
	case *broker.FieldError:
		return []*broker.FieldError{e}, nil
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			f, r := splitFields(inner)
			fields, rest = append(fields, f...), append(rest, r...)
		}
	case interface{ Unwrap() error }:
		fields, rest = splitFields(e.Unwrap())
	}
	if len(fields) == 0 {
		return nil, []error{err} // with the words of those who wrapped it
	}
	return fields, rest
}
