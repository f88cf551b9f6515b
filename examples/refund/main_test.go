package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// execute runs the program and returns its exit code and what it wrote.
func execute(ctx context.Context, in io.Reader, args ...string) (code int, out, err string) {
	var o, e bytes.Buffer
	code = program(ctx, args, console{in: in, out: &o, err: &e})
	return code, o.String(), e.String()
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What the user can correct ends with exit code 2, says what is wrong and where,
// and prints no report.
func TestBadInputIsNamedAndEndsWithExitCode2(t *testing.T) {
	config := writeFile(t, "bad.yaml", "broker: memory\nqueue: refunds\nconsumer:\n  ordring: key\n  concurrency: ten\n")
	other := writeFile(t, "other.yaml", "broker: carrier_pigeon\nqueue: refunds\n")
	empty := writeFile(t, "empty.jsonl", "\n\n")
	long := writeFile(t, "long.jsonl", strings.Repeat("x", maxLine+1))
	for name, tt := range map[string]struct {
		args []string
		want []string
	}{
		"unknown flag":          {[]string{"-ordrs", "5"}, []string{"-ordrs", "usage: refund"}},
		"several flags":         {[]string{"-orders", "0", "-timeout", "0s", "extra"}, []string{"-orders 0", "-timeout 0s", `"extra"`}},
		"no such config":        {[]string{"-config", "no/such.yaml"}, []string{"no/such.yaml"}},
		"wrong config":          {[]string{"-config", config}, []string{"bad.yaml:4:3", "did you mean ordering", "bad.yaml:5:16"}},
		"unknown broker":        {[]string{"-config", other}, []string{"other.yaml:1:9", "carrier_pigeon"}},
		"no such input":         {[]string{"-input", "no/such.jsonl"}, []string{"no/such.jsonl"}},
		"input and orders":      {[]string{"-input", "x", "-orders", "5"}, []string{"-orders", "-input"}},
		"empty input":           {[]string{"-input", empty}, []string{"empty.jsonl holds no refund request"}},
		"a line that is a file": {[]string{"-input", long}, []string{"long.jsonl:1", "1048576 bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, err := execute(t.Context(), nil, tt.args...)
			if code != exitUsage || out != "" {
				t.Errorf("exit code %d, output %q; want %d and nothing", code, out, exitUsage)
			}
			for _, want := range tt.want {
				if !strings.Contains(err, want) {
					t.Errorf("standard error does not say %q:\n%s", want, err)
				}
			}
		})
	}
}

// With -json standard output is one JSON object that has the promised keys.
func TestJSONIsOneObjectWithThePromisedKeys(t *testing.T) {
	t.Parallel()
	code, out, err := execute(t.Context(), nil, "-orders", "8", "-json")
	if code != exitDone || err != "" {
		t.Fatalf("exit code %d, standard error %q", code, err)
	}
	decoder := json.NewDecoder(strings.NewReader(out))
	var object map[string]json.RawMessage
	if err := decoder.Decode(&object); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if _, err := decoder.Token(); err != io.EOF {
		t.Errorf("there is more than one object: %v", err)
	}
	for _, key := range []string{
		"orders", "refunded", "over_refunded", "duplicates_suppressed", "retries", "dead_letters",
		"throughput_per_s", "oldest_age_s", "ledger",
	} {
		if _, ok := object[key]; !ok {
			t.Errorf("there is no key %q", key)
		}
	}
	if string(object["orders"]) != "8" || string(object["over_refunded"]) != "0" || string(object["broken"]) != "[]" {
		t.Errorf("unexpected values:\n%s", out)
	}
}

// The sample ends well, and each of its bad lines is reported with its number.
func TestSampleIsDoneAndItsBadLinesAreNamed(t *testing.T) {
	t.Parallel()
	code, out, err := execute(t.Context(), nil, "-input", "sample.jsonl")
	if code != exitDone || !strings.Contains(out, "verified: ") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	for _, want := range []string{
		"sample.jsonl:8: will be dead-lettered as data", "sample.jsonl:9: will be dead-lettered as data",
		"sample.jsonl:10: will be dead-lettered as format", "sample.jsonl:12: will be dead-lettered as format",
		"sample.jsonl:13: will be dead-lettered as bug", "sample.jsonl:15: will be dead-lettered as format",
		"sample.jsonl:16: will be dead-lettered as data", "sample.jsonl:17: will be dead-lettered as format",
	} {
		if !strings.Contains(err, want) {
			t.Errorf("standard error does not say %q:\n%s", want, err)
		}
	}
	if n := strings.Count(err, "\n"); n != 8 {
		t.Errorf("%d lines on standard error, want 8:\n%s", n, err)
	}
	for _, want := range []string{"refunds paid                  5", "declined                      4", "dead letters                  8"} {
		if !strings.Contains(out, want) {
			t.Errorf("the report does not say %q:\n%s", want, out)
		}
	}
}

// -explain says what the configuration means and handles nothing.
func TestExplainSaysWhatTheConfigurationMeans(t *testing.T) {
	code, out, err := execute(t.Context(), nil, "-explain")
	if code != exitDone || err != "" {
		t.Errorf("exit code %d, standard error %q", code, err)
	}
	for _, want := range []string{`consumer "refund" on memory`, "order key", "accounts > logging > decode > dedupe"} {
		if !strings.Contains(out, want) {
			t.Errorf("the explanation does not say %q:\n%s", want, out)
		}
	}
}

// A job that is interrupted says so in its summary and in its exit code.
func TestInterruptedProgramSaysSo(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	lines, write := io.Pipe() // an input that never ends
	go func() {
		_, _ = write.Write([]byte(`{"order":"A-1","requester":"customer","amount":200}` + "\n"))
		interrupt()
		<-t.Context().Done()
	}()
	context.AfterFunc(ctx, func() { _ = write.Close() })
	code, out, err := execute(ctx, lines, "-input", "-")
	if code != exitInterrupted || !strings.Contains(out, "interrupted") || !strings.Contains(err, "interrupted") {
		t.Errorf("exit code %d\n%s%s", code, out, err)
	}
}
