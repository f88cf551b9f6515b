package rabbit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
)

// login returns what a dialer would log in with.
func login(t *testing.T, d *dialer) string {
	t.Helper()
	auths, err := d.sasl()
	if err != nil {
		t.Fatal(err)
	}
	plain, ok := auths[0].(*amqp.PlainAuth)
	if !ok || len(auths) != 1 {
		return fmt.Sprintf("%T", auths[0])
	}
	return fmt.Sprintf("user %s password %s", plain.Username, plain.Password)
}

func mustDialer(t *testing.T, s Settings) *dialer {
	t.Helper()
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	d, err := newDialer(&s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Credentials come from the URL, from their settings, or from both together.
func TestCredentialsComeFromWhereTheyAreGiven(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]Settings{
		"user u password p":         {URL: broker.NewSecret("amqp://u:p@h")},
		"user v password q":         {URL: broker.NewSecret("amqp://h"), Username: "v", Password: broker.NewSecret("q")},
		"user u password r":         {URL: broker.NewSecret("amqp://u@h"), Password: broker.NewSecret("r")},
		"user guest password guest": {URL: broker.NewSecret("amqp://h")},
		"*amqp091.ExternalAuth":     {URL: broker.NewSecret("amqps://h"), Auth: AuthExternal, TLS: TLS{CertFile: "c", KeyFile: "k"}},
	} {
		if got := login(t, mustDialer(t, s)); got != want {
			t.Errorf("logs in with %s, want %s", got, want)
		}
	}
}

// A password file is read at every login, and the line break at its end is not
// part of the password; spaces are.
func TestPasswordFileIsReadAnew(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	d := mustDialer(t, Settings{URL: broker.NewSecret("amqp://h"), Username: "u", PasswordFile: file})
	for _, c := range []struct{ text, password string }{
		{"first\n", "first"}, {"second\r\n", "second"}, {" third ", " third "}, {"a\nb\n", "a\nb"}, {"none", "none"},
	} {
		write(t, file, c.text)
		if got := login(t, d); got != "user u password "+c.password {
			t.Errorf("the file %q: logs in with %s", c.text, got)
		}
	}
}

// A file that cannot be used is named, with the setting that names it, and an
// error shows nothing of its content.
func TestUnusableFilesAreNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name, text string) string {
		file := filepath.Join(dir, name)
		write(t, file, text)
		return file
	}
	empty, junk, missing := path("empty", "\n"), path("junk", "s3cret stuff"), filepath.Join(dir, "missing")
	large := path("large", strings.Repeat("s3cret", 20_000))
	for name, c := range map[string]struct {
		s           Settings
		field, says string
	}{
		"missing password":    {Settings{Username: "u", PasswordFile: missing}, "PasswordFile", "cannot be read"},
		"empty password":      {Settings{Username: "u", PasswordFile: empty}, "PasswordFile", "is empty"},
		"large password":      {Settings{Username: "u", PasswordFile: large}, "PasswordFile", "larger than"},
		"folder":              {Settings{Username: "u", PasswordFile: dir}, "PasswordFile", "folder"},
		"missing authority":   {Settings{TLS: TLS{CAFile: missing}}, "TLS.CAFile", "cannot be read"},
		"authority of junk":   {Settings{TLS: TLS{CAFile: junk}}, "TLS.CAFile", "no certificate"},
		"missing certificate": {Settings{TLS: TLS{CertFile: missing, KeyFile: junk}}, "TLS.CertFile", missing},
		"certificate of junk": {Settings{TLS: TLS{CertFile: junk, KeyFile: junk}}, "TLS.CertFile", junk},
	} {
		c.s.URL = broker.NewSecret("amqps://localhost:1")
		_, _, err := mustDialer(t, c.s).dial(t.Context(), "test")
		fault, ok := errors.AsType[*broker.FieldError](err)
		if !ok || fault.Field != c.field || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want a fault of %s that says %q", name, err, c.field, c.says)
			continue
		}
		if !final(err) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v is not final or shows the file's content", name, err)
		}
	}
}
