package broker_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/anyqueue/anyqueue/broker"
)

const hidden = "hunter2-correct-horse"

// settings holds a secret in every place where printing could reach it.
type settings struct {
	Password broker.Secret            `json:"password" yaml:"password" xml:"password"`
	Pointer  *broker.Secret           `json:"pointer" yaml:"pointer" xml:"pointer"`
	List     []broker.Secret          `json:"list" yaml:"list" xml:"list"`
	Map      map[string]broker.Secret `json:"map" yaml:"map" xml:"-"`
	inner    broker.Secret            // methods are not called on unexported fields
	deeper   struct{ s []broker.Secret }
}

func secretive() *settings {
	s := broker.NewSecret(hidden)
	v := &settings{Password: s, Pointer: &s, List: []broker.Secret{s}, Map: map[string]broker.Secret{"a": s}, inner: s}
	v.deeper.s = []broker.Secret{s}
	return v
}

// Rule: no verb of fmt prints the text, on its own or inside of any structure,
// exported field or not.
func TestSecretIsNotPrintedByAnyVerb(t *testing.T) {
	v := secretive()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%T", "%10.3s", "%-40v", "%!"} {
		for _, x := range []any{v.Password, v.Pointer, *v, v, v.List, v.Map, v.deeper} {
			got := fmt.Sprintf(verb, x)
			if leaks(got) {
				t.Errorf("Sprintf(%q, %T) = %s", verb, x, got)
			}
		}
	}
	if got := fmt.Sprint(v.Password); got != "[redacted]" {
		t.Errorf("Sprint = %q, want [redacted]", got)
	}
	if got := fmt.Sprintf("%q", v.Password); got != `"[redacted]"` {
		t.Errorf("%%q = %s, want quotes around it", got)
	}
	if got := fmt.Errorf("dial %v", v.Password); leaks(got.Error()) {
		t.Errorf("Errorf = %v", got)
	}
	if got := errors.Join(fmt.Errorf("%+v", v)); leaks(got.Error()) {
		t.Errorf("Join = %v", got)
	}
}

// Rule: no encoding and no log handler writes the text.
func TestSecretIsNotEncodedOrLogged(t *testing.T) {
	v := secretive()
	var out bytes.Buffer

	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	b, err = json.Marshal(map[broker.Secret]int{v.Password: 1})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	b, err = yaml.Dump(v)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	b, err = xml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("open", "secret", v.Password, "in", v, slog.Group("g", "p", v.Pointer))
	}

	if got := out.String(); leaks(got) {
		t.Errorf("leaked:\n%s", got)
	} else if n := strings.Count(got, "[redacted]"); n < 10 {
		t.Errorf("only %d places were redacted:\n%s", n, got)
	}
}

// Rule: Reveal gives back exactly what was put in, decoded or constructed, and
// equal texts are equal secrets.
func TestSecretRevealsExactlyWhatWasPutIn(t *testing.T) {
	for _, text := range []string{"", "x", hidden, "\x00\xff", "[redacted]"} {
		s := broker.NewSecret(text)
		if s.Reveal() != text || s.IsZero() != (text == "") || s != broker.NewSecret(text) {
			t.Errorf("NewSecret(%q) reveals %q, zero %v", text, s.Reveal(), s.IsZero())
		}
	}
	var s settings
	if err := json.Unmarshal([]byte(`{"password":"`+hidden+`"}`), &s); err != nil || s.Password.Reveal() != hidden {
		t.Errorf("JSON: %q, %v", s.Password.Reveal(), err)
	}
	s = settings{}
	if err := yaml.Load([]byte("password: "+hidden), &s); err != nil || s.Password.Reveal() != hidden {
		t.Errorf("YAML: %q, %v", s.Password.Reveal(), err)
	}
	if got := fmt.Sprintf("%v|%q|%#v", broker.Secret{}, broker.Secret{}, broker.Secret{}); got != `|""|""` {
		t.Errorf("the empty secret prints %s", got)
	}
}

// leaks looks for the text as it is and in hexadecimal (%x), long enough a part
// of it not to be a coincidence.
func leaks(s string) bool {
	s = strings.ToLower(s)
	return strings.Contains(s, hidden[:7]) || strings.Contains(s, fmt.Sprintf("%x", hidden[:7]))
}
