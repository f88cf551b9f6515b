package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/anyqueue/anyqueue/broker"
)

// setScalar puts the text of a node, expanded, into v. used says that a variable
// took part: then the node's own type says nothing, because "${PORT}" is a text
// whatever the variable holds.
func setScalar(n *yaml.Node, text string, used bool, f field, v reflect.Value) error {
	quoted := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	s := scalar{text: text, field: f, used: used, quoted: quoted && !used, plainType: n.Tag}
	switch k := kindOf(v.Type()); k {
	case kindSecret:
		if err := s.mustBeText(); err != nil {
			return err
		}
		v.Set(reflect.ValueOf(broker.NewSecret(text)))
		return s.checkEmpty()
	case kindString, kindText:
		return s.setText(v, k, n.Value)
	case kindBool:
		return s.setBool(v)
	case kindFloat:
		return s.setFloat(v)
	default: // kindInt, kindDuration
		return s.setInt(v, k)
	}
}

// scalar is one value on its way from text to Go.
type scalar struct {
	text      string
	field     field
	used      bool   // a variable took part
	quoted    bool   // the file itself says that it is a text
	plainType string // the tag that YAML gave to it: !!int, !!str, ...
}

// bad returns an error about the value, which is not a secret.
func (s scalar) bad(problem string) error {
	shown := strconv.Quote(clip(s.text))
	if s.used {
		shown += " (from the environment)"
	}
	return fmt.Errorf("%s %s", shown, problem)
}

// mustBeText refuses a bare number or boolean where a text is wanted: readers of
// YAML disagree about what 010, 1e3 or no are, and quotes settle it. A text with a
// variable in it is never bare: ${N} is no number to YAML.
func (s scalar) mustBeText() error {
	switch s.plainType {
	case "!!int", "!!float":
		return errors.New("is a number where a text is wanted; put it in quotes")
	case "!!bool":
		return errors.New("is true or false where a text is wanted; put it in quotes")
	}
	return nil
}

// checkEmpty refuses an empty text for a key that must be given.
func (s scalar) checkEmpty() error {
	if s.field.required && s.text == "" {
		return fmt.Errorf("is empty. %s", s.field.doc)
	}
	return nil
}

func (s scalar) setText(v reflect.Value, k kind, raw string) error {
	if err := errors.Join(s.mustBeText(), s.checkEmpty()); err != nil {
		return err
	}
	if strings.HasPrefix(raw, filePrefix) {
		return errors.New("is no secret, and only secrets are read from files; write the value itself, or a variable: ${NAME}")
	}
	if s.field.enum != nil && !slices.Contains(s.field.enum, s.text) {
		problem := "is not allowed; write one of " + strings.Join(s.field.enum, ", ")
		if meant := nearest(s.text, s.field.enum); meant != "" {
			problem = fmt.Sprintf("is not allowed; did you mean %s? (one of %s)", meant, strings.Join(s.field.enum, ", "))
		}
		return s.bad(problem)
	}
	if k == kindString {
		v.SetString(s.text)
		return nil
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s.text)); err != nil {
		return s.bad("is not accepted: " + err.Error())
	}
	return nil
}

func (s scalar) setBool(v reflect.Value) error {
	if s.quoted || s.text != "true" && s.text != "false" {
		return s.bad("is neither true nor false; write one of the two, without quotes")
	}
	v.SetBool(s.text == "true")
	return nil
}

func (s scalar) setFloat(v reflect.Value) error {
	f, err := parseFloat(s.text)
	switch {
	case err != nil:
		return s.bad(err.Error())
	case s.quoted:
		return s.bad("is a text; write the number without quotes")
	case v.OverflowFloat(f):
		return s.bad("is too large for this setting")
	}
	v.SetFloat(f)
	return s.checkZero(f == 0)
}

// setInt sets whole numbers, sizes and durations.
func (s scalar) setInt(v reflect.Value, k kind) error {
	var n int64
	var err error
	switch {
	case k == kindDuration:
		d, durationErr := parseDuration(s.text)
		n, err = int64(d), durationErr
	case s.field.size():
		n, err = parseSize(s.text)
	default:
		n, err = parseInt(s.text)
	}
	if err != nil {
		return s.bad(err.Error())
	}
	if s.quoted && isInteger.MatchString(s.text) {
		return s.bad("is a text; write the number without quotes")
	}
	if v.CanUint() {
		if n < 0 {
			return s.bad("is negative; write 0 or more")
		}
		if v.OverflowUint(uint64(n)) {
			return s.bad("is too large for this setting")
		}
		v.SetUint(uint64(n))
		return s.checkZero(n == 0)
	}
	if v.OverflowInt(n) {
		return s.bad("is too large for this setting")
	}
	v.SetInt(n)
	return s.checkZero(n == 0)
}

// checkZero refuses an explicit zero where the zero value stands for a default
// that is not zero: "max_hold: 0s" would mean two seconds.
func (s scalar) checkZero(zero bool) error {
	if !zero || s.field.fallback == "" {
		return nil
	}
	problem := fmt.Sprintf("would mean the default, %s; leave the key out for that", s.field.fallback)
	if s.field.negativeMeans != "" {
		problem += ", or write a negative value: " + s.field.negativeMeans
	}
	return s.bad(problem)
}
