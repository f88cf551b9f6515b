package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"

	"github.com/anyqueue/anyqueue/broker"
)

// object is a JSON object. Its keys are encoded in alphabetical order, so that a
// schema is the same each time.
type object = map[string]any

// Schema returns the JSON Schema (draft 2020-12) of the files that may name these
// drivers, made from the same struct fields that decode them: an editor then
// completes and checks what Load will read. It knows types, units, required keys
// and simple bounds; how values go together only Load knows.
//
// Wherever a file may hold a scalar the schema accepts one with a variable in it,
// ${NAME}.
func Schema(drivers ...broker.Driver) ([]byte, error) {
	if err := checkDrivers(drivers); err != nil {
		return nil, err
	}
	known := rootFields(drivers)
	root := structSchema(known)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "anyqueue worker"
	root["description"] = "The configuration of one worker: a broker, a queue, and how it is consumed."
	root["$defs"] = object{
		"variable": object{"type": "string", "pattern": variablePattern, "description": "A value with an environment variable: ${NAME}, ${NAME:-default} or ${NAME:?message}."},
		"duration": object{"type": "string", "pattern": durationPattern, "description": "Numbers with units and without spaces: 500ms, 1h30m, 7d; negative with a minus in front."},
		"length":   object{"type": "string", "pattern": lengthPattern, "description": "Numbers with units and without spaces: 500ms, 1h30m, 7d."},
		"size":     object{"type": "string", "pattern": sizePattern, "description": "A whole number with a unit: 512KB, 64MiB."},
	}
	var alone []any // a broker's section stands only in a file that names the broker
	for _, d := range drivers {
		alone = append(alone, object{
			"if":   object{"properties": object{"broker": object{"enum": others(drivers, d.Name())}}},
			"then": object{"properties": object{d.Name(): false}},
		})
	}
	if len(drivers) > 1 {
		root["allOf"] = alone
	}
	b, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("config: encode the schema: %w", err)
	}
	return append(b, '\n'), nil
}

func others(drivers []broker.Driver, name string) []string {
	var rest []string
	for _, d := range drivers {
		if d.Name() != name {
			rest = append(rest, d.Name())
		}
	}
	return rest
}

// structSchema is the schema of a section with these keys.
func structSchema(fields []field) object {
	properties, required := object{}, []string{}
	for _, f := range fields {
		properties[f.key] = fieldSchema(f)
		if f.required {
			required = append(required, f.key)
		}
	}
	s := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// fieldSchema is the schema of a key's value, with its description.
func fieldSchema(f field) object {
	s := typeSchema(f, f.typ)
	description := f.doc
	if f.fallback != "" {
		description += " Default: " + f.fallback + "."
	}
	if f.negativeMeans != "" {
		description += " Negative: " + f.negativeMeans + "."
	}
	if description != "" {
		s["description"] = description
	}
	return s
}

// typeSchema is the schema of a value of type t. It mirrors decoder.value.
func typeSchema(f field, t reflect.Type) object {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch kindOf(t) {
	case kindStruct:
		s := structSchema(fieldsOf(t))
		if _, needs := s["required"]; !needs {
			s["type"] = []string{"object", "null"} // all of its lines may be comments
		}
		return s
	case kindMap:
		return mapSchema(f, t)
	case kindList:
		item := field{key: f.key, typ: t.Elem(), enum: f.enum}
		return object{"type": "array", "items": typeSchema(item, t.Elem())}
	case kindBool:
		return orVariable(object{"type": "boolean"})
	case kindInt:
		return intSchema(f, t)
	case kindFloat:
		return orVariable(bounds(object{"type": "number"}, f))
	case kindDuration:
		if f.min != "" {
			return orVariable(ref("length"))
		}
		return orVariable(ref("duration"))
	default: // texts
		return textSchema(f)
	}
}

func mapSchema(f field, t reflect.Type) object {
	item := typeSchema(field{key: f.key, typ: t.Elem()}, t.Elem())
	if f.enum == nil {
		return object{"type": []string{"object", "null"}, "additionalProperties": item}
	}
	properties := object{}
	for _, key := range f.enum {
		properties[key] = item
	}
	return object{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
}

func intSchema(f field, t reflect.Type) object {
	integer := bounds(object{"type": "integer"}, f)
	if t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64 && f.min == "" {
		integer["minimum"] = 0
	}
	if f.size() {
		return orVariable(integer, ref("size"))
	}
	return orVariable(integer)
}

func textSchema(f field) object {
	s := object{"type": "string"}
	if f.enum != nil {
		return orVariable(object{"enum": f.enum})
	}
	if f.required {
		s["minLength"] = 1
	}
	return s
}

// bounds adds those of a number. A schema can say little of a duration's.
func bounds(s object, f field) object {
	if f.fallback != "" {
		s["not"] = object{"const": 0} // would mean the default
	}
	if n, err := strconv.ParseFloat(f.min, 64); err == nil {
		s["minimum"] = n
	}
	if n, err := strconv.ParseFloat(f.max, 64); err == nil {
		s["maximum"] = n
	}
	return s
}

func ref(name string) object { return object{"$ref": "#/$defs/" + name} }

func orVariable(forms ...object) object {
	list := make([]any, 0, len(forms)+1)
	for _, s := range forms {
		list = append(list, s)
	}
	return object{"anyOf": append(list, ref("variable"))}
}
