package broker

import (
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"unique"
)

// redacted is what stands in place of a secret wherever it is printed.
const redacted = "[redacted]"

// Secret is a text that must not be seen: a password, a token, a URL with
// credentials in it. Settings of adapters use it for such fields.
//
// Whatever prints or encodes a Secret writes "[redacted]": every verb of package
// fmt, log/slog, and each encoding that knows [encoding.TextMarshaler] (JSON,
// YAML, XML). Only [Secret.Reveal] returns the text. The zero Secret is the
// empty text, and prints as such, so that a missing password can be seen to be
// missing.
//
// Secrets are compared with ==, by their text, and may be copied and used by
// several goroutines.
type Secret struct {
	// A handle and not a string: package fmt does not call methods on a value that
	// it finds in an unexported field. It would print a string there, but of a
	// handle it prints an address.
	text unique.Handle[string]
}

// NewSecret returns the text as a secret.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{} // one zero value, so that == and IsZero agree
	}
	return Secret{text: unique.Make(text)}
}

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.IsZero() {
		return ""
	}
	return s.text.Value()
}

// IsZero reports whether the text is empty.
func (s Secret) IsZero() bool { return s == Secret{} }

// String returns "[redacted]", or "" for the empty text.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// Format implements [fmt.Formatter]: every verb writes what String returns, and
// %q and %#v quote it.
func (s Secret) Format(state fmt.State, verb rune) {
	text := s.String()
	if verb == 'q' || verb == 'v' && state.Flag('#') {
		text = strconv.Quote(text)
	}
	_, _ = io.WriteString(state, text) // fmt offers no way to report it
}

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements [encoding.TextMarshaler] with what String returns: a
// Secret cannot be read back from what was written.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]: text becomes the secret.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}
