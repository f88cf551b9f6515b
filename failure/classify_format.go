package failure

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"reflect"
)

// formatRules: the bytes are not what they should be.
var formatRules = []rule{
	{is[*json.SyntaxError], always(ClassFormat)},
	{is[*json.UnmarshalTypeError], always(ClassFormat)},
	{is[*xml.SyntaxError], always(ClassFormat)},
	{is[xml.UnmarshalError], always(ClassFormat)},
	{is[base32.CorruptInputError], always(ClassFormat)},
	{is[base64.CorruptInputError], always(ClassFormat)},
	{is[hex.InvalidByteError], always(ClassFormat)},
	{typeOf(hex.ErrLength), sentinel(hex.ErrLength, ClassFormat)},
}

// typeOf matches the dynamic type of an error.
func typeOf(err error) func(reflect.Type) bool {
	want := reflect.TypeOf(err)
	return func(t reflect.Type) bool { return t == want }
}

// sentinel reads one value as of a class. Only errors of its own type are given
// to it, so that the comparison cannot meet an incomparable one.
func sentinel(want error, c Class) func(error) finding {
	return func(err error) finding {
		if err == want { //nolint:errorlint // each link of the chain is looked at on its own
			return finding{class: c, weight: general}
		}
		return finding{}
	}
}

// genericTypes are those of errors that say nothing by their type.
var genericTypes = func() map[reflect.Type]bool {
	m := map[reflect.Type]bool{reflect.TypeFor[*statement](): true}
	return m
}()

var _ = errors.New
