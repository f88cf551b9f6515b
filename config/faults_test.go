package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/anyqueue/anyqueue/broker"
)

// valid is the smallest file for the fake broker. The table below adds to it or
// replaces it.
const valid = "broker: fake\nqueue: q\nfake:\n  url: fake://host\n"

// wantFaults parses a file that is called w.yaml and compares its faults, one per
// line, without the name of the file in front.
func wantFaults(t *testing.T, file string, lookup func(string) (string, bool), want ...string) {
	t.Helper()
	_, err := Parse("w.yaml", []byte(file), lookup, (&fake{}).driver(""), (&fake{}).driver("other"))
	configErr, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("Parse returned %v, want an *Error\n%s", err, file)
	}
	got := strings.Split(strings.ReplaceAll("\n"+configErr.Error(), "\nw.yaml:", "\n"), "\n")[1:]
	if !slices.Equal(got, want) {
		t.Errorf("file:\n%s\ngot:\n\t%s\nwant:\n\t%s", file, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	if !errors.Is(err, broker.ErrInvalid) {
		t.Error("it does not match broker.ErrInvalid")
	}
}

// Rule: each kind of fault is reported at its line and column, with its key, what
// is wrong and what to do, and all faults of a file at once.
func TestFaultsNamePlaceKeyProblemAndRemedy(t *testing.T) {
	for _, c := range []struct {
		name, file string
		want       []string
	}{
		{"empty", "", nil},
		{"only comments", "# nothing\n\n", nil},
		{"null", "~\n", nil},
		{"a list", "- a\n- b\n", nil},
		{"text", "hello\n", nil},
		{"missing keys", "consumer:\n  concurrency: 3\n", nil},
		{"missing section", "broker: fake\nqueue: q\n", nil},
		{"missing key in an empty section", "broker: fake\nqueue: q\nfake:\n", nil},
		{"empty required texts", "broker: ''\nqueue: \"\"\nfake:\n  url: ''\n", nil},
		{"unknown broker", "broker: fkae\nqueue: q\n", nil},
		{"section of another broker", valid + "other:\n  url: other://host\n", nil},
		{"section of no broker", valid + "rabbitmq:\n  url: amqp://host\n", nil},

		{"misspelt key", valid + "consumer:\n  concurency: 3\n", nil},
		{"key in another style", valid + "consumer:\n  maxInFlight: 3\n  drain-timeout: 3s\n", nil},
		{"key in the wrong section", valid + "concurrency: 3\nconsumer:\n  max_attempts: 3\n  url: x\n  queue: x\n  initial: 3s\n", nil},
		{"key unlike any", valid + "consumer:\n  retry:\n    zebra: 3\n", nil},
		{"misspelt class", valid + "consumer:\n  retry:\n    classes:\n      dependancy: {max_attempts: 3}\n", nil},
		{"duplicate keys", valid + "queue: r\nconsumer:\n  name: a\n  concurrency: 3\n  name: b\n", nil},
		{"keys that are no text", valid + "? [a]\n: 1\n? {b: 1}\n: 2\n", nil},
		{"keys of other types", valid + "1: x\ntrue: y\n~: z\n", nil},

		{"number is a word", valid + "consumer:\n  concurrency: many\n", nil},
		{"number in quotes", valid + "consumer:\n  concurrency: \"3\"\n  max_in_flight_bytes: '1024'\n", nil},
		{"numbers in other notations", valid + "consumer:\n  concurrency: 0x10\n  max_in_flight: 1_000\n  batch_size: 010\n  max_abandoned: 1e3\n", nil},
		{"number with a fraction", valid + "consumer:\n  concurrency: 1.5\n", nil},
		{"numbers that do not fit", valid + "  prefetch: 256\n  hosts:\n  - {name: x, port: 99999999999999999999}\n  ratio: 1e300\n", nil},
		{"unsigned and negative", valid + "  prefetch: -1\n", nil},
		{"floats that are none", valid + "consumer:\n  retry:\n    backoff: {factor: .inf, jitter: .nan}\n", nil},
		{"booleans in other words", valid + "  durable: yes\n", nil},
		{"boolean in quotes", valid + "  durable: \"true\"\n", nil},
		{"text is a number", "broker: fake\nqueue: 007\nfake:\n  url: 12345\n  vhost: true\n", nil},
		{"no value", valid + "  lease:\n  vhost: ~\n  hosts:\nconsumer:\n", nil},
		{"section in place of a value", valid + "consumer:\n  concurrency: {a: 1}\n  name: [x]\n", nil},
		{"value in place of a section", valid + "consumer:\n  retry: 5\n", nil},
		{"value in place of a list", valid + "  hosts: h\n", nil},
		{"faults inside of a list", valid + "  hosts:\n  - name: a\n  - port: b\n", nil},
		{"word that is not allowed", valid + "  mode: clasic\nconsumer:\n  ordering: fifo\n", nil},
		{"text that its type refuses", valid + "  level: loud\n", nil},

		{"duration without unit", valid + "consumer:\n  timeout: 30\n  max_lease: 1.5\n  drain_timeout: -1\n", nil},
		{"durations that are none", valid + "consumer:\n  timeout: 5 min\n  max_lease: 1w\n  drain_timeout: forever\n", nil},
		{"duration too long", valid + "consumer:\n  timeout: 999999d\n", nil},
		{"sizes that are none", valid + "consumer:\n  max_in_flight_bytes: 64M\nfake2: 1\n", nil},
		{"size too large", valid + "consumer:\n  max_in_flight_bytes: 99999999TiB\n", nil},
		{"zeros that would mean the default", valid + "  lease: 0s\nconsumer:\n  concurrency: 0\n  drain_timeout: 0s\n  max_in_flight_bytes: 0\n  retry: {backoff: {factor: 0.0}}\n", nil},

		{"options out of bounds", valid + "consumer:\n  concurrency: -3\n  timeout: -1s\n  retry:\n    max_attempts: 1001\n    backoff:\n      initial: 1m\n      max: 1s\n", nil},
		{"options that do not go together", valid + "consumer:\n  max_in_flight: 5\n  timeout: 2h\n", nil},
		{"class above the budget", valid + "consumer:\n  retry: {max_attempts: 3, classes: {resource: {max_attempts: 4}}}\n", nil},
		{"settings out of bounds", valid + "  hosts:\n  - name: a\n    port: -1\n  durable: true\n  tls:\n    verify: false\n", nil},
		{"settings with faults of no key", valid + "  vhost: odd\n", nil},

		{"not closed", "broker: fake\nqueue: \"q\nfake: {}\n", nil},
		{"list not closed", "broker: fake\nqueue: [q\n", nil},
		{"tab", "broker: fake\nconsumer:\n\tname: x\n", nil},
		{"colon in a text", "broker: fake\nqueue: a: b\n", nil},
		{"sign at the beginning", "broker: fake\nqueue: @home\n", nil},
		{"wrong indentation", "broker: fake\n  queue: q\n", nil},
		{"two documents", valid + "---\nbroker: fake\n", nil},
		{"document end", valid + "...\nmore: x\n", nil},
		{"anchor, alias, merge, tag", valid + "consumer: &base\n  retry: *base\n  <<: *base\n  name: !!str x\nother: !x y\n", nil},
		{"unknown alias", valid + "consumer: *none\n", nil},
		{"too deep", "a: " + strings.Repeat("[", 60) + "\n", nil},
		{"UTF-16", "\xff\xfeb\x00r\x00", nil},
		{"not UTF-8", "broker: fake\nqueue: caf\xe9\n", nil},
		{"control character", "broker: fake\nqueue: a\x00b\n", nil},
		{"second byte order mark", "\ufeffbroker: fake\nqueue: a\ufeffb\n", nil},
		{"old line ends", "broker: fake\rqueue: q\r", nil},
		{"too large", "# " + strings.Repeat("x", maxFile) + "\n", nil},
		{"columns count characters", "broker: fake\nqueue: {é: ü, ö: 1}\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) { wantFaults(t, c.file, env(), c.want...) })
	}
	_ = os.Args
	_ = filepath.Join
}
