package config

import (
	"reflect"
	"strings"

	"github.com/anyqueue/anyqueue/runtime"
)

// blame splits what the runtime or a driver found into faults of the file and
// errors that have nothing to do with it. place names the key of a Go field, if
// the file is to blame for it.
func (f *File) blame(err error, place func(goPath string) (string, reflect.Type, bool)) (faults []Fault, rest []error) {
	fields, rest := splitFields(err)
	for _, e := range fields {
		if path, typ, ok := place(e.Field); ok {
			faults = append(faults, f.fault(e, path, typ))
		} else {
			rest = append(rest, e)
		}
	}
	return faults, rest
}

// blameOption returns the key of a field of [runtime.Options]. A field that has
// no key leads to the section around it; one that no file can give leads nowhere.
func (f *File) blameOption(goPath string) (string, reflect.Type, bool) {
	path, typ := locate(reflect.TypeFor[consumer](), goPath)
	return join("consumer", path), typ, path != ""
}

// blameSettings returns the key of a field that a driver names: one of its
// settings, the queue, or what the options told it of the consumer's intent.
// Anything else leads to the driver's section.
func (f *File) blameSettings(goPath string) (string, reflect.Type, bool) {
	path, typ := locate(reflect.TypeOf(f.settings), goPath)
	if path == "" {
		name := strings.TrimPrefix(goPath, "Intent.")
		if name == "Queue" {
			return "queue", reflect.TypeFor[string](), true
		}
		if option, ok := intended[name]; ok {
			return f.blameOption(option)
		}
	}
	return join(f.Broker, path), typ, true
}

// intended maps the fields of [broker.Intent] to the options they come from.
var intended = map[string]string{
	"MaxAttempts":  "Retry.MaxAttempts",
	"MaxAbandoned": "MaxAbandoned",
	"Delays":       "Retry.Backoff",
	"Ordered":      "Ordering",
	"MaxInFlight":  "MaxInFlight",
	"Timeout":      "Timeout",
}

// sameAt reports whether a field has the same value in both options.
func sameAt(a, b runtime.Options, goPath string) bool {
	return reflect.DeepEqual(valueAt(a, goPath), valueAt(b, goPath))
}

// valueAt returns the value at a Go path, or that of the innermost field on the
// way there that exists.
func valueAt(o runtime.Options, goPath string) any {
	v := reflect.ValueOf(o)
	for _, name := range segments(goPath) {
		var next reflect.Value
		switch v.Kind() {
		case reflect.Struct:
			next = v.FieldByName(name)
		case reflect.Map:
			next = v.MapIndex(reflect.ValueOf(name).Convert(v.Type().Key()))
		}
		if !next.IsValid() {
			break
		}
		v = next
	}
	return v.Interface()
}
