package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// field is what the file, the JSON Schema and faults know of one struct field.
// It is read from the field's tags:
//
//	yaml:"key"         the key; without the tag the lower-cased name; "-" hides the field
//	doc:"..."          the description that editors show
//	required:"true"    the key must be given
//	enum:"a,b"         the values (of a map: the keys) that are allowed
//	min:"1" max:"9"    bounds of a number, for the schema; checking is Validate's
//	default:"10"       what the zero value stands for. An explicit zero is then a
//	                   fault, because it would not mean zero
//	negative:"none"    what a negative value means
type field struct {
	key, goName   string
	index         []int
	typ           reflect.Type
	doc           string
	required      bool
	enum          []string
	min, max      string
	fallback      string
	negativeMeans string
}

// size says that the field counts bytes and may be written with a unit: every
// integer whose key ends in _bytes does, in the settings of adapters too.
func (f field) size() bool { return strings.HasSuffix(f.key, "_bytes") && kindOf(f.typ) == kindInt }

// kind is how a Go type is written in a file.
type kind int

const (
	unsupported kind = iota
	kindSecret
	kindDuration
	kindText // a type of its own that reads itself from text
	kindBool
	kindInt
	kindFloat
	kindString
	kindList
	kindMap
	kindStruct
)

var (
	secretType   = reflect.TypeFor[broker.Secret]()
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// kindOf returns how t is written. A pointer is written as what it points to.
func kindOf(t reflect.Type) kind {
	switch {
	case t == secretType:
		return kindSecret
	case t == durationType:
		return kindDuration
	case t.Kind() == reflect.Pointer:
		return kindOf(t.Elem())
	case reflect.PointerTo(t).Implements(textType):
		return kindText
	case t.Kind() == reflect.Bool:
		return kindBool
	case isInt(t):
		return kindInt
	case t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64:
		return kindFloat
	case t.Kind() == reflect.String:
		return kindString
	case t.Kind() == reflect.Slice:
		return kindList
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		return kindMap
	case t.Kind() == reflect.Struct:
		return kindStruct
	}
	return unsupported
}

func isInt(t reflect.Type) bool {
	return t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64 || t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64
}

// fieldsOf returns the fields of a struct type that a file can set, in the order
// of their declaration. An embedded struct tagged inline contributes its own.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for _, sf := range reflect.VisibleFields(t) {
		if len(sf.Index) > 1 || !sf.IsExported() {
			continue // a struct's own fields are reached through the struct
		}
		name, options, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		if name == "-" {
			continue
		}
		if slices.Contains(strings.Split(options, ","), "inline") && sf.Type.Kind() == reflect.Struct {
			for _, inner := range fieldsOf(sf.Type) {
				inner.index = append(slices.Clone(sf.Index), inner.index...)
				fields = append(fields, inner)
			}
			continue
		}
		if name == "" {
			name = strings.ToLower(sf.Name)
		}
		f := field{
			key:           name,
			goName:        sf.Name,
			index:         sf.Index,
			typ:           sf.Type,
			doc:           sf.Tag.Get("doc"),
			required:      sf.Tag.Get("required") == "true",
			min:           sf.Tag.Get("min"),
			max:           sf.Tag.Get("max"),
			fallback:      sf.Tag.Get("default"),
			negativeMeans: sf.Tag.Get("negative"),
		}
		if enum := sf.Tag.Get("enum"); enum != "" {
			f.enum = strings.Split(enum, ",")
		}
		fields = append(fields, f)
	}
	return fields
}

// checkType returns an error when a file could not hold a t: the fault of an
// adapter's author, found by whoever passes the driver first.
func checkType(t reflect.Type, path string, above ...reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if slices.Contains(above, t) {
		return fmt.Errorf("%s: the type %s contains itself", path, t)
	}
	above = append(above, t)
	switch kindOf(t) {
	case unsupported:
		return fmt.Errorf("%s: a file cannot hold a %s; tag the field yaml:\"-\"", path, t)
	case kindList, kindMap:
		return checkType(t.Elem(), path+"[]", above...)
	case kindStruct:
		seen := map[string]string{}
		for _, f := range fieldsOf(t) {
			if other, twice := seen[f.key]; twice {
				return fmt.Errorf("%s: the fields %s and %s have the same key %q", path, other, f.goName, f.key)
			}
			seen[f.key] = f.goName
			if err := checkType(f.typ, path+"."+f.goName, above...); err != nil {
				return err
			}
		}
	default: // a scalar
	}
	return nil
}

// locate turns the Go path of a field ("Retry.Backoff.Initial", "Hosts[2].Port",
// "Classes[bug].MaxAttempts") into the path of keys in the file, as far as it
// leads, and the type of what is there; nil when it did not lead to the end.
func locate(t reflect.Type, goPath string) (path string, typ reflect.Type) {
	for _, name := range segments(goPath) {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch kindOf(t) {
		case kindStruct:
			fields := fieldsOf(t)
			i := slices.IndexFunc(fields, func(f field) bool { return f.goName == name })
			if i < 0 {
				return path, nil
			}
			path, t = join(path, fields[i].key), fields[i].typ
		case kindMap:
			path, t = join(path, name), t.Elem()
		case kindList:
			path, t = path+"["+name+"]", t.Elem()
		default:
			return path, nil
		}
	}
	return path, t
}

// segments splits a Go path at its dots and brackets.
func segments(goPath string) []string {
	return strings.FieldsFunc(goPath, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}

// join returns the path of a key below another.
func join(path, key string) string {
	if path == "" {
		return key
	}
	if key == "" {
		return path
	}
	return path + "." + key
}
