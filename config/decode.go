package config

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/anyqueue/anyqueue/broker"
)

// decoder carries a tree of nodes into Go values and collects what is wrong on
// the way. It goes on after a fault, so that one reading finds all of them.
type decoder struct {
	lookup func(string) (string, bool) // the environment
	dir    string                      // what relative secret files are relative to

	// home tells where in the file a key belongs that was found elsewhere.
	home func(key string) (path string, ok bool)

	faults  []Fault
	dropped int // faults beyond maxFaults
	grown   int // bytes that variables added so far
	*places
}

// maxFaults bounds what a file of nonsense costs, and what is printed of it.
const maxFaults = 100

func (d *decoder) report(f Fault, path string) {
	if len(d.faults) >= maxFaults {
		d.dropped++
		return
	}
	f.File, f.Path, f.Problem = d.name, path, d.redact(f.Problem)
	d.faults = append(d.faults, f)
}

// err returns the faults so far, nil when there are none.
func (d *decoder) err() error {
	err := newError(d.faults)
	if configErr, ok := errors.AsType[*Error](err); ok && d.dropped > 0 {
		last := configErr.Faults[len(configErr.Faults)-1]
		last.Path, last.Problem, last.cause = "", fmt.Sprintf("and there are %d faults more", d.dropped), nil
		configErr.Faults = append(configErr.Faults, last)
	}
	return err
}

// blame reports what a Validate method found in the section at path, which was
// decoded into a t. A key that has a fault already is left alone: its value never
// arrived, so what Validate says of it is said of another value.
func (d *decoder) blame(err error, path string, t reflect.Type) {
	faulty := map[string]bool{}
	for _, f := range d.faults {
		faulty[f.Path] = true
	}
	fields, rest := splitFields(err)
	for _, e := range fields {
		key, typ := locate(t, e.Field)
		key = join(path, key)
		if !faulty[key] {
			d.report(d.fault(e, key, typ), key)
		}
	}
	for _, e := range rest {
		at := d.find(path)
		d.report(Fault{Line: at.line, Column: at.column, Problem: e.Error(), cause: e}, path)
	}
}

// mapping walks a node that must be a mapping with known keys, and calls set for
// each of them once. An empty section counts as an empty mapping: all of its
// lines may be comments.
func (d *decoder) mapping(n *yaml.Node, path string, known []field, set func(f field, key, value *yaml.Node)) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		d.missing(n, path, known, nil)
		return
	}
	if n.Kind != yaml.MappingNode {
		subject := ""
		if path == "" {
			subject = "the file "
		}
		d.report(at(n, "%sis %s; write a section of keys: %s", subject, describe(n), keysOf(known)), path)
		return
	}
	byKey := make(map[string]field, len(known))
	for _, f := range known {
		byKey[f.key] = f
	}
	first := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if !d.goodKey(key, path, first) {
			continue
		}
		f, ok := byKey[key.Value]
		if !ok {
			d.unknown(key, path, known)
			continue
		}
		d.place(join(path, key.Value), value)
		set(f, key, value)
	}
	d.missing(n, path, known, first)
}

// goodKey reports a key that is no plain text, a merge, or there already.
func (d *decoder) goodKey(key *yaml.Node, path string, first map[string]*yaml.Node) bool {
	switch {
	case key.Kind == yaml.AliasNode:
		return false // reported as an alias
	case key.Kind != yaml.ScalarNode:
		d.report(at(key, "a key is %s; write plain text", describe(key)), path)
		return false
	case key.Tag == "!!merge":
		d.report(at(key, "merge keys (<<) are not supported; write the keys out"), path)
		return false
	}
	if other, twice := first[key.Value]; twice {
		d.report(at(key, "the key stands twice, here and at line %d, column %d; remove one", other.Line, other.Column),
			join(path, clip(key.Value)))
		return false
	}
	first[key.Value] = key
	return true
}

// unknown reports a key that nothing reads, and what was probably meant.
func (d *decoder) unknown(key *yaml.Node, path string, known []field) {
	if len(d.faults) >= maxFaults {
		d.dropped++
		return // without the work of a suggestion
	}
	var advice string
	if home, ok := d.home(key.Value); ok {
		advice = "it belongs to " + home
	} else if meant := nearest(key.Value, names(known)); meant != "" {
		advice = fmt.Sprintf("did you mean %s?", meant)
	} else {
		advice = "the keys here are " + keysOf(known)
	}
	d.report(at(key, "is not a known key; %s", advice), join(path, clip(key.Value)))
}

// missing reports the required keys that are not in a section.
func (d *decoder) missing(n *yaml.Node, path string, known []field, have map[string]*yaml.Node) {
	for _, f := range known {
		if f.required && have[f.key] == nil {
			d.report(at(n, "is missing; add the key here. %s", f.doc), join(path, f.key))
		}
	}
}

// place remembers where a value stands, for faults that are found later.
func (d *decoder) place(path string, n *yaml.Node) {
	d.byPath[path] = place{line: n.Line, column: n.Column}
}

// value decodes a node into v, which is settable.
func (d *decoder) value(n *yaml.Node, path string, f field, v reflect.Value) {
	if n.Kind == yaml.AliasNode {
		return // reported as an alias
	}
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	switch kindOf(v.Type()) {
	case kindStruct:
		d.mapping(n, path, fieldsOf(v.Type()), func(f field, _, value *yaml.Node) {
			d.value(value, join(path, f.key), f, v.FieldByIndex(f.index))
		})
	case kindMap:
		d.mapValue(n, path, f, v)
	case kindList:
		d.list(n, path, f, v)
	default:
		d.scalar(n, path, f, v)
	}
}

// mapValue decodes a mapping whose keys are data. It adds to what the defaults
// hold.
func (d *decoder) mapValue(n *yaml.Node, path string, f field, v reflect.Value) {
	elem := v.Type().Elem()
	known := make([]field, len(f.enum))
	for i, key := range f.enum {
		known[i] = field{key: key, typ: elem}
	}
	if f.enum == nil && n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if key := n.Content[i]; key.Kind == yaml.ScalarNode {
				known = append(known, field{key: key.Value, typ: elem})
			}
		}
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	d.mapping(n, path, known, func(f field, _, value *yaml.Node) {
		item := reflect.New(elem).Elem()
		d.value(value, join(path, f.key), f, item)
		v.SetMapIndex(reflect.ValueOf(f.key).Convert(v.Type().Key()), item)
	})
}

// list decodes a sequence. It replaces what the defaults hold.
func (d *decoder) list(n *yaml.Node, path string, f field, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.report(at(n, "is %s; write a list: one value per line after a dash, or [a, b]", describe(n)), path)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		itemPath := path + "[" + strconv.Itoa(i) + "]"
		d.place(itemPath, item)
		d.value(item, itemPath, field{key: f.key, typ: v.Type().Elem(), enum: f.enum}, v.Index(i))
	}
}

// scalar decodes one value.
func (d *decoder) scalar(n *yaml.Node, path string, f field, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		d.report(at(n, "is %s; write one value", describe(n)), path)
		return
	}
	if n.Tag == "!!null" {
		d.report(at(n, "has no value; write one, or remove the key"), path)
		return
	}
	text, used, err := expand(n.Value, maxExpansion-d.grown, d.lookup)
	d.grown += max(0, len(text)-len(n.Value))
	if err == nil && kindOf(v.Type()) == kindSecret {
		// Only the file itself can name a file to read: a variable that happens to
		// hold file:... is a text like any other.
		if _, isFile := strings.CutPrefix(n.Value, filePrefix); isFile {
			text, err = readSecret(d.dir, strings.TrimPrefix(text, filePrefix))
		}
		d.secrets = append(d.secrets, broker.NewSecret(text))
	}
	if err == nil {
		err = setScalar(n, text, used, f, v)
	}
	if err != nil {
		fault := at(n, "%s", err)
		fault.cause = err
		d.report(fault, path)
	}
}

// filePrefix begins a secret that stands in a file of its own.
const filePrefix = "file:"

// describe says what a node is, without its content.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a section of keys"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case n.Tag == "!!null":
		return "empty"
	default:
		return "a single value"
	}
}

func names(fields []field) []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return keys
}

func keysOf(fields []field) string {
	if len(fields) == 0 {
		return "none"
	}
	return strings.Join(names(fields), ", ")
}
