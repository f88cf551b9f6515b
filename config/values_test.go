package config

import (
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"
)

// parse returns what a valid file says, and the settings of the fake broker.
func parse(t *testing.T, file string, lookup func(string) (string, bool)) (*File, *fakeSettings) {
	t.Helper()
	f, err := Parse("w.yaml", []byte(file), lookup, (&fake{}).driver(""))
	if err != nil {
		t.Fatalf("%v\n%s", err, file)
	}
	return f, f.settings.(*fakeSettings)
}

// Rule: every kind of field arrives as it was written, and what is not written
// keeps the driver's default.
func TestEveryKindOfValueArrivesAsWritten(t *testing.T) {
	_, s := parse(t, "\ufeff# a comment\r\nbroker: fake\r\nqueue: 'q'\r\nfake:\r\n"+`  url: amqp://u:p@host
  lease: 1m30s
  frame_max_bytes: 4KiB
  ratio: 1.5
  durable: true
  mode: "quorum"
  hosts:
    - name: a
      port: 5672
    - {name: b}
  labels: {team: payments, "on": 2020-01-01, empty: ""}
  tls:
    verify: true
  level: warn+1
  vhost: |-
    two
    lines
`, env())
	verify := s.TLS != nil && s.TLS.Verify != nil && *s.TLS.Verify
	switch {
	case s.URL.Reveal() != "amqp://u:p@host", s.Lease != 90*time.Second, s.FrameMax != 4096, s.Ratio != 1.5,
		!s.Durable, s.Mode != "quorum", s.VHost != "two\nlines", s.Level != slog.LevelWarn+1, !verify:
		t.Errorf("%+v", s)
	case len(s.Hosts) != 2 || s.Hosts[0] != host{"a", 5672} || s.Hosts[1] != host{Name: "b"}:
		t.Errorf("hosts: %+v", s.Hosts)
	case len(s.Labels) != 3 || s.Labels["team"] != "payments" || s.Labels["on"] != "2020-01-01":
		t.Errorf("labels: %v", s.Labels)
	case s.Prefetch != 7:
		t.Errorf("prefetch is %d, want the driver's default of 7", s.Prefetch)
	}
}

// Rule: a duration is numbers with units; a day is 24 hours; no sum overflows.
func TestDurationsNeedUnits(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0s": 0, "1ns": 1, "2us": 2000, "2µs": 2000, "500ms": 500 * time.Millisecond, "30s": 30 * time.Second,
		"1h30m": 90 * time.Minute, "1.5h": 90 * time.Minute, "7d": 168 * time.Hour, "1d12h": 36 * time.Hour,
		"0.5d": 12 * time.Hour, "-1s": -time.Second, "-1d1s": -24*time.Hour - time.Second,
		"106751d23h47m16.854775807s": math.MaxInt64,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("parseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "s", "0", "30", "1.5", "-30", "+1s", "1 s", "1h 30m", " 1s", "1s\n", "1S", "1w", "1y", ".5s", "1.s", "1..5s",
		"--1s", "1s-1s", "106751d23h47m16.854775808s", "106752d", "99999999999999999999s", "9223372036854775807d", "1e3s", "١s",
	} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("parseDuration(%q) = %v, want an error", text, got)
		}
	}
}

// Rule: a size is bytes, or has one of the units, decimal or binary.
func TestSizesAreBytesOrHaveUnits(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1024": 1024, "-1": -1, "7B": 7, "512KB": 512_000, "64MiB": 64 << 20, "64 MiB": 64 << 20, "1GB": 1e9, "2GiB": 2 << 30,
		"3TB": 3e12, "1TiB": 1 << 40, "8388607TiB": 8388607 << 40, "9223372036854775807": math.MaxInt64,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("parseSize(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "MiB", "1.5GiB", "64M", "64Mi", "64mib", "64kB", "-1KB", "1  KB", "1KB ", "0x10", "1_000", "010",
		"8388608TiB", "9223372036854775808", "99999999999999999999KB", "1KBKB",
	} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q) = %v, want an error", text, got)
		}
	}
}

// Rule: a suggestion is made for a slip of the finger and for another style of
// writing, not for a different word.
func TestSuggestionsAreForSlipsOnly(t *testing.T) {
	words := []string{"concurrency", "max_in_flight", "max_attempts", "max_abandoned", "key", "none", "url"}
	for got, want := range map[string]string{
		"concurency": "concurrency", "cocnurrency": "concurrency", "Concurrency": "concurrency", "maxInFlight": "max_in_flight",
		"max-in-flight": "max_in_flight", "max_attempt": "max_attempts", "kye": "key", "urls": "url",
		"": "", "x": "", "prefetch": "", "name": "", "max": "", strings.Repeat("concurrency", 9): "",
	} {
		if word := nearest(got, words); word != want {
			t.Errorf("nearest(%q) = %q, want %q", got, word, want)
		}
	}
}

// Rule: variables are expanded in every style of quoting, and nowhere but in
// values.
func TestVariablesAreExpandedInEveryValue(t *testing.T) {
	lookup := env("Q", "refunds", "N", "12", "T", "5s", "EMPTY", "", "M", "64MiB", "B", "true", "C", "dependency")
	f, s := parse(t, `
broker: ${B1:-fake}
queue: "${Q}-${EMPTY}x-${MISSING:-a b}-$$HOME"
fake:
  url: '${U:-fake://$h:1/}'
  durable: ${B}
  mode: ${MODE:-quorum}
  labels:
    ${Q}: ${Q}
  hosts:
  - name: |
      ${Q:?not used}
    port: "${N}"
consumer:
  concurrency: "${N}"
  timeout: ${T}
  max_in_flight_bytes: ${M}
  retry: {backoff: {factor: "${F:-1.5}"}}
`, lookup)
	switch {
	case f.Queue != "refunds-x-a b-$HOME":
		t.Errorf("queue is %q", f.Queue)
	case s.URL.Reveal() != "fake://$h:1/", !s.Durable, s.Mode != "quorum", s.Labels["${Q}"] != "refunds":
		t.Errorf("%+v, url %q", s, s.URL.Reveal())
	case len(s.Hosts) != 1 || s.Hosts[0] != host{"refunds\n", 12}:
		t.Errorf("hosts: %+v", s.Hosts)
	}
	o := f.Options
	if o.Concurrency != 12 || o.Timeout != 5*time.Second || o.MaxInFlightBytes != 64<<20 || o.Retry.Backoff.Factor != 1.5 {
		t.Errorf("%+v", o)
	}
}

// Rule: what a variable holds is one text. It brings in no keys, no sections, no
// further variables, no files, and no type.
func TestVariablesCannotInjectAnything(t *testing.T) {
	for _, evil := range []string{
		"q\nconsumer:\n  concurrency: 1", "{a: b}", "[x]", "${HOME}", "$$", "*alias", "&a b", "!!int 3", "null", "~", "# gone", "'", `"`, "\x00",
		"file:/etc/passwd", "- x",
	} {
		f, s := parse(t, "broker: fake\nqueue: ${E}\nfake: {url: x, tls: {key: \"${E}\"}, vhost: '${E}'}\n", env("E", evil, "HOME", "/root"))
		if f.Queue != evil || s.VHost != evil || s.TLS.Key.Reveal() != evil || f.Options.Concurrency != 0 {
			t.Errorf("%q became queue %q, key %q, vhost %q", evil, f.Queue, s.TLS.Key.Reveal(), s.VHost)
		}
	}
}

// Rule: what cannot be expanded is a fault where it stands, and says what to set.
func TestMissingVariablesAreFaultsAtTheirPlace(t *testing.T) {
	wantFaults(t, `broker: fake
queue: ${QUEUE}
fake:
  url: "amqp://u:sesame@${HOST:?the broker's host}/"
  vhost: ${V:?}
  labels: {a: $HOME, b: "100$", c: "${", d: "${A B}", e: "${A:+x}", f: "${A:-${B}}"}
consumer:
  concurrency: ${N}
  max_in_flight: ${EMPTY}
  timeout: ${T}
  drain_timeout: ${ZERO}
`, env("EMPTY", "", "N", "ten", "T", "30", "ZERO", "0s"),
		`2:8: queue: needs the environment variable QUEUE, which is not set; set it, or write ${QUEUE:-default}`,
		`4:8: fake.url: needs the environment variable HOST, which is not set or empty: the broker's host`,
		`5:10: fake.vhost: needs the environment variable V, which is not set or empty`,
		`6:15: fake.labels.a: has a $ that is neither ${NAME}, ${NAME:-default} nor ${NAME:?message}; write $$ for a dollar sign`,
		`6:25: fake.labels.b: has a $ that is neither ${NAME}, ${NAME:-default} nor ${NAME:?message}; write $$ for a dollar sign`,
		`6:36: fake.labels.c: has a $ that is neither ${NAME}, ${NAME:-default} nor ${NAME:?message}; write $$ for a dollar sign`,
		`6:45: fake.labels.d: has a $ that is neither ${NAME}, ${NAME:-default} nor ${NAME:?message}; write $$ for a dollar sign`,
		`6:58: fake.labels.e: has a $ that is neither ${NAME}, ${NAME:-default} nor ${NAME:?message}; write $$ for a dollar sign`,
		`6:72: fake.labels.f: has a $ that is neither ${NAME}, ${NAME:-default} nor ${NAME:?message}; write $$ for a dollar sign`,
		`8:16: consumer.concurrency: "ten" (from the environment) is not a whole number; write decimal digits alone`,
		`9:18: consumer.max_in_flight: "" (from the environment) is not a whole number; write decimal digits alone`,
		`10:12: consumer.timeout: "30" (from the environment) has no unit; write 30s for seconds, or another of the units ns, us, ms, s, m, h, d`,
		`11:18: consumer.drain_timeout: "0s" (from the environment) would mean the default, 30s; leave the key out for that, or write a negative value: handlers are cancelled at once`,
	)
}

// Rule: without a lookup, variables come from the process's environment.
func TestVariablesComeFromTheEnvironment(t *testing.T) {
	t.Setenv("ANYQUEUE_TEST_QUEUE", "from-the-process")
	if f, _ := parse(t, strings.Replace(valid, "queue: q", "queue: ${ANYQUEUE_TEST_QUEUE}", 1), nil); f.Queue != "from-the-process" {
		t.Errorf("queue is %q", f.Queue)
	}
}

// Rule: neither a long line of variables nor a long variable costs more than its
// size: what variables add to a file is bounded, in all.
func TestWhatVariablesAddIsBounded(t *testing.T) {
	const uses = 200_000
	long := strings.Repeat("x", 64<<10)
	many := "broker: fake\nqueue: " + strings.Repeat("${A}", uses)
	if f, _ := parse(t, many+"\nfake: {url: x}\n", env("A", "abcdef")); len(f.Queue) != uses*6 {
		t.Errorf("queue has %d bytes", len(f.Queue))
	}
	items := "fake:\n  url: x\n  hosts:\n" + strings.Repeat("  - name: ${A}\n", 40)
	for _, file := range []string{many, "broker: fake\nqueue: q\n" + items} {
		_, err := Parse("w.yaml", []byte(file), env("A", long), (&fake{}).driver(""))
		if err == nil || !strings.Contains(err.Error(), "grows too long: variables may add 1048576 bytes to a file") {
			t.Errorf("got %.300v", err)
		}
	}
}
