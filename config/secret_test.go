package config

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anyqueue/anyqueue/broker"
)

// write puts a file into dir and returns its path.
func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Rule: file: reads a secret from a file, without its last line break; a relative
// path begins at the configuration's folder, and the path may hold variables.
func TestSecretsAreReadFromFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "run/url", "amqp://u:p@h\n")
	write(t, dir, "run/key", "line\r\nline\r\n")
	t.Setenv("ANYQUEUE_TEST_DIR", filepath.Join(dir, "run"))
	path := write(t, dir, "w.yaml", "broker: fake\nqueue: q\nfake:\n  url: file:run/url\n  tls: {key: \"file:${ANYQUEUE_TEST_DIR}/key\"}\n")
	f, err := Load(path, (&fake{}).driver(""))
	if err != nil {
		t.Fatal(err)
	}
	s := f.settings.(*fakeSettings)
	if s.URL.Reveal() != "amqp://u:p@h" || s.TLS.Key.Reveal() != "line\r\nline" {
		t.Errorf("url %q, key %q", s.URL.Reveal(), s.TLS.Key.Reveal())
	}
}

// Rule: a secret's file that cannot be used is a fault that names the file, and
// nothing but a regular file of sensible size is read.
func TestSecretFilesThatCannotBeUsedAreFaults(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "empty", "\n")
	write(t, dir, "large", strings.Repeat("x", maxSecret+1))
	for path, problem := range map[string]string{
		"missing": "cannot be read from its file: ",
		"empty":   "is empty; write the secret into it",
		"large":   "is larger than 65536 bytes",
		".":       "is not a regular file",
		"":        "names no file; write file:/run/secrets/name",
	} {
		_, err := Parse(filepath.Join(dir, "w.yaml"), []byte("broker: fake\nqueue: q\nfake:\n  url: \"file:"+path+"\"\n"), env(), (&fake{}).driver(""))
		if err == nil || !strings.Contains(err.Error(), problem) || !strings.Contains(err.Error(), "w.yaml:4:8: fake.url: ") {
			t.Errorf("file:%s gave %v, want %q", path, err, problem)
		}
		if path == "missing" && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v does not match fs.ErrNotExist", err)
		}
	}
	wantFaults(t, valid+"  vhost: file:/etc/hostname\n", env(),
		"5:10: fake.vhost: is no secret, and only secrets are read from files; write the value itself, or a variable: ${NAME}")
}

// Rule: no fault, no error and no printed File or Worker shows a secret, wherever
// it came from and whatever is wrong with it.
func TestSecretsAreNeverShown(t *testing.T) {
	const secret = "hunter2-sesame"
	dir := t.TempDir()
	write(t, dir, "s", "amqp://u:"+secret+"@h:port/\n")
	lookup := env("S", secret, "URL", "amqp://u:"+secret+"@h:port/")
	for _, url := range []string{
		"amqp://u:" + secret + "@h:port/", // Validate refuses it, and quotes it
		"${URL}", "file:s", `"amqp://u:${S}@h:port/"`, secret + "$x", secret + "${NOT_SET}",
		"[" + secret + "]", "{a: " + secret + "}", "*" + secret, "&" + secret + " x", "!" + secret + " x", "@" + secret, "%" + secret,
		`"amqp://u:` + secret + `@h\n"`, "'" + secret, secret + ": x", "|x" + secret,
	} {
		file := "broker: fake\nqueue: q\nfake:\n  url: " + url + "\n  prefetch: x\n"
		_, err := Parse(filepath.Join(dir, "w.yaml"), []byte(file), lookup, (&fake{}).driver(""))
		if err == nil {
			t.Errorf("%s: no fault", url)
			continue
		}
		configErr, _ := errors.AsType[*Error](err)
		asJSON, _ := json.Marshal(configErr.Faults)
		for _, shown := range []string{err.Error(), fmt.Sprint(configErr.Faults), string(asJSON)} {
			if strings.Contains(shown, secret) {
				t.Errorf("%s: shown in %s", url, shown)
			}
		}
	}

	f := &fake{caps: able}
	file, err := Parse("w.yaml", []byte("broker: fake\nqueue: q\nfake:\n  url: fake://${S}\n  tls: {key: \"${S}\"}\n"), lookup, f.driver(""))
	if err != nil {
		t.Fatal(err)
	}
	worker, err := file.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := worker.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	asJSON, err := json.Marshal(f.settings.TLS)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{
		fmt.Sprintf("%v %+v %#v", file, *file, file), fmt.Sprintf("%v %+v %#v", worker, worker.file, worker.file.settings),
		fmt.Sprintf("%+v %s", f.settings, f.settings.URL), string(asJSON),
	} {
		if strings.Contains(shown, secret) {
			t.Errorf("shown in %s", shown)
		}
	}

	f.openErr = &broker.FieldError{Field: "URL", Value: f.settings.URL.Reveal(), Problem: "cannot use " + f.settings.URL.Reveal()}
	if _, err := file.Open(t.Context()); err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "w.yaml:4:8: fake.url: ") {
		t.Errorf("opening gave %v", err)
	}

	f.openErr = &broker.FieldError{Field: "TLS.Key", Value: "pin", Problem: "is too short"}
	if _, err := file.Open(t.Context()); err == nil || err.Error() != "w.yaml:5:14: fake.tls.key: is refused: is too short" {
		t.Errorf("a secret too short to be recognised: %v", err)
	}
}
