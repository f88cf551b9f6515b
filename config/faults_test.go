package config

import (
	"errors"
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
		{"empty", "", []string{
			"1:1: the file says nothing; it needs at least the keys broker and queue",
		}},
		{"only comments", "# nothing\n\n", []string{
			"1:1: the file says nothing; it needs at least the keys broker and queue",
		}},
		{"null", "~\n", []string{
			"1:1: the file says nothing; it needs at least the keys broker and queue",
		}},
		{"a list", "- a\n- b\n", []string{
			"1:1: the file is a list; write a section of keys: broker, queue, consumer, fake, other",
		}},
		{"text", "hello\n", []string{
			"1:1: the file is a single value; write a section of keys: broker, queue, consumer, fake, other",
		}},
		{"missing keys", "consumer:\n  concurrency: 3\n", []string{
			"1:1: broker: is missing; add the key here. The broker to use; the section of the same name holds its settings.",
			"1:1: queue: is missing; add the key here. The queue or topic to consume and to publish to.",
		}},
		{"missing section", "broker: fake\nqueue: q\n", []string{
			"1:1: fake.url: is missing; add the key here. Where the broker is, with credentials.",
		}},
		{"missing key in an empty section", "broker: fake\nqueue: q\nfake:\n", []string{
			"3:6: fake.url: is missing; add the key here. Where the broker is, with credentials.",
		}},
		{"empty required texts", "broker: ''\nqueue: \"\"\nfake:\n  url: ''\n", []string{
			"1:9: broker: is empty. The broker to use; the section of the same name holds its settings.",
			"2:8: queue: is empty. The queue or topic to consume and to publish to.",
			"4:8: fake.url: is empty. Where the broker is, with credentials.",
		}},
		{"unknown broker", "broker: fkae\nqueue: q\n", []string{
			`1:9: broker: "fkae" is no broker of this program; write one of fake, other, or pass its driver to Open`,
		}},
		{"unknown broker, its sections checked all the same", "broker: rabbitmq\nqueue: q\nfake: {url: x, prefetch: -1}\nother: {}\n", []string{
			`1:9: broker: "rabbitmq" is no broker of this program; write one of fake, other, or pass its driver to Open`,
			`3:26: fake.prefetch: "-1" is negative; write 0 or more`,
			"4:8: other.url: is missing; add the key here. Where the broker is, with credentials.",
		}},
		{"section of another broker", valid + "other:\n  url: other://host\n", []string{
			"5:1: other: is the section of another broker: the file says broker: fake; remove the section, or change that line",
		}},
		{"section of no broker", valid + "rabbitmq:\n  url: amqp://host\n", []string{
			"5:1: rabbitmq: is not a known key; the keys here are broker, queue, consumer, fake, other",
		}},

		{"misspelt key", valid + "consumer:\n  concurency: 3\n", []string{
			"6:3: consumer.concurency: is not a known key; did you mean concurrency?",
		}},
		{"key in another style", valid + "consumer:\n  maxInFlight: 3\n  drain-timeout: 3s\n", []string{
			"6:3: consumer.maxInFlight: is not a known key; did you mean max_in_flight?",
			"7:3: consumer.drain-timeout: is not a known key; did you mean drain_timeout?",
		}},
		{"key in the wrong section", valid + "concurrency: 3\nconsumer:\n  max_attempts: 3\n  url: x\n  queue: x\n  initial: 3s\n", []string{
			"5:1: concurrency: is not a known key; it belongs to consumer",
			"7:3: consumer.max_attempts: is not a known key; it belongs to consumer.retry",
			"8:3: consumer.url: is not a known key; it belongs to fake or other",
			"9:3: consumer.queue: is not a known key; it belongs to the top of the file",
			"10:3: consumer.initial: is not a known key; it belongs to consumer.retry.backoff",
		}},
		{"key unlike any", valid + "consumer:\n  retry:\n    zebra: 3\n", []string{
			"7:5: consumer.retry.zebra: is not a known key; the keys here are max_attempts, max_elapsed, max_hold, backoff, classes",
		}},
		{"misspelt class", valid + "consumer:\n  retry:\n    classes:\n      dependancy: {max_attempts: 3}\n", []string{
			"8:7: consumer.retry.classes.dependancy: is not a known key; did you mean dependency?",
		}},
		{"duplicate keys", valid + "queue: r\nconsumer:\n  name: a\n  concurrency: 3\n  name: b\n", []string{
			"5:1: queue: the key stands twice, here and at line 2, column 1; remove one",
			"9:3: consumer.name: the key stands twice, here and at line 7, column 3; remove one",
		}},
		{"keys that are no text", valid + "? [a]\n: 1\n? {b: 1}\n: 2\n", []string{
			"5:3: a key is a list; write plain text",
			"7:3: a key is a section of keys; write plain text",
		}},
		{"keys of other types", valid + "1: x\ntrue: y\n~: z\n", []string{
			"5:1: 1: is not a known key; the keys here are broker, queue, consumer, fake, other",
			"6:1: true: is not a known key; the keys here are broker, queue, consumer, fake, other",
			"7:1: ~: is not a known key; the keys here are broker, queue, consumer, fake, other",
		}},

		{"number is a word", valid + "consumer:\n  concurrency: many\n", []string{
			`6:16: consumer.concurrency: "many" is not a whole number; write decimal digits alone`,
		}},
		{"number in quotes", valid + "consumer:\n  concurrency: \"3\"\n  max_in_flight_bytes: '1024'\n", []string{
			`6:16: consumer.concurrency: "3" is a text; write the number without quotes`,
			`7:24: consumer.max_in_flight_bytes: "1024" is a text; write the number without quotes`,
		}},
		{"numbers in other notations", valid + "consumer:\n  concurrency: 0x10\n  max_in_flight: 1_000\n  batch_size: 010\n  max_abandoned: 1e3\n", []string{
			`6:16: consumer.concurrency: "0x10" is not a whole number; write decimal digits alone`,
			`7:18: consumer.max_in_flight: "1_000" is not a whole number; write decimal digits alone`,
			`8:15: consumer.batch_size: "010" is not a whole number; write decimal digits alone`,
			`9:18: consumer.max_abandoned: "1e3" is not a whole number; write decimal digits alone`,
		}},
		{"number with a fraction", valid + "consumer:\n  concurrency: 1.5\n", []string{
			`6:16: consumer.concurrency: "1.5" is not a whole number; write decimal digits alone`,
		}},
		{"numbers that do not fit", valid + "  prefetch: 256\n  hosts:\n  - {name: x, port: 99999999999999999999}\n  ratio: 1e300\n", []string{
			`5:13: fake.prefetch: "256" is too large for this setting`,
			`7:21: fake.hosts[0].port: "99999999999999999999" is too large for a whole number`,
			`8:10: fake.ratio: "1e300" is too large for this setting`,
		}},
		{"unsigned and negative", valid + "  prefetch: -1\n", []string{
			`5:13: fake.prefetch: "-1" is negative; write 0 or more`,
		}},
		{"floats that are none", valid + "consumer:\n  retry:\n    backoff: {factor: .inf, jitter: .nan}\n", []string{
			`7:23: consumer.retry.backoff.factor: ".inf" is not a number; write one such as 2 or 1.5`,
			`7:37: consumer.retry.backoff.jitter: ".nan" is not a number; write one such as 2 or 1.5`,
		}},
		{"booleans in other words", valid + "  durable: yes\n", []string{
			`5:12: fake.durable: "yes" is neither true nor false; write one of the two, without quotes`,
		}},
		{"boolean in quotes", valid + "  durable: \"true\"\n", []string{
			`5:12: fake.durable: "true" is neither true nor false; write one of the two, without quotes`,
		}},
		{"text is a number", "broker: fake\nqueue: 007\nfake:\n  url: 12345\n  vhost: true\n", []string{
			"2:8: queue: is a number where a text is wanted; put it in quotes",
			"4:8: fake.url: is a number where a text is wanted; put it in quotes",
			"5:10: fake.vhost: is true or false where a text is wanted; put it in quotes",
		}},
		{"no value", valid + "  lease:\n  vhost: ~\n  hosts:\nconsumer:\n", []string{
			"5:9: fake.lease: has no value; write one, or remove the key",
			"6:10: fake.vhost: has no value; write one, or remove the key",
			"7:9: fake.hosts: is empty; write a list: one value per line after a dash, or [a, b]",
		}},
		{"section in place of a value", valid + "consumer:\n  concurrency: {a: 1}\n  name: [x]\n", []string{
			"6:16: consumer.concurrency: is a section of keys; write one value",
			"7:9: consumer.name: is a list; write one value",
		}},
		{"value in place of a section", valid + "consumer:\n  retry: 5\n", []string{
			"6:10: consumer.retry: is a single value; write a section of keys: max_attempts, max_elapsed, max_hold, backoff, classes",
		}},
		{"value in place of a list", valid + "  hosts: h\n", []string{
			"5:10: fake.hosts: is a single value; write a list: one value per line after a dash, or [a, b]",
		}},
		{"faults inside of a list", valid + "  hosts:\n  - name: a\n  - port: b\n", []string{
			"7:5: fake.hosts[1].name: is missing; add the key here. The host's name.",
			`7:11: fake.hosts[1].port: "b" is not a whole number; write decimal digits alone`,
		}},
		{"word that is not allowed", valid + "  mode: clasic\nconsumer:\n  ordering: fifo\n", []string{
			`5:9: fake.mode: "clasic" is not allowed; did you mean classic? (one of classic, quorum)`,
			`7:13: consumer.ordering: "fifo" is not allowed; write one of none, key`,
		}},
		{"text that its type refuses", valid + "  level: loud\n", []string{
			`5:10: fake.level: "loud" is not accepted: slog: level string "loud": unknown name`,
		}},

		{"duration without unit", valid + "consumer:\n  timeout: 30\n  max_lease: 1.5\n  drain_timeout: -1\n", []string{
			`6:12: consumer.timeout: "30" has no unit; write 30s for seconds, or another of the units ns, us, ms, s, m, h, d`,
			`7:14: consumer.max_lease: "1.5" has no unit; write 1.5s for seconds, or another of the units ns, us, ms, s, m, h, d`,
			`8:18: consumer.drain_timeout: "-1" has no unit; write -1s for seconds, or another of the units ns, us, ms, s, m, h, d`,
		}},
		{"durations that are none", valid + "consumer:\n  timeout: 5 min\n  max_lease: 1w\n  drain_timeout: forever\n", []string{
			`6:12: consumer.timeout: "5 min" is not a duration; write numbers with units and without spaces, such as 500ms, 1h30m or 7d`,
			`7:14: consumer.max_lease: "1w" is not a duration; write numbers with units and without spaces, such as 500ms, 1h30m or 7d`,
			`8:18: consumer.drain_timeout: "forever" is not a duration; write numbers with units and without spaces, such as 500ms, 1h30m or 7d`,
		}},
		{"duration too long", valid + "consumer:\n  timeout: 999999d\n", []string{
			`6:12: consumer.timeout: "999999d" is too long; the longest duration is about 292 years`,
		}},
		{"sizes that are none", valid + "consumer:\n  max_in_flight_bytes: 64M\nfake2: 1\n", []string{
			`6:24: consumer.max_in_flight_bytes: "64M" is not a size; write a whole number of bytes, or one with a unit: 512KB, 64MiB (B, KB, MB, GB, TB by 1000; KiB, MiB, GiB, TiB by 1024)`,
			"7:1: fake2: is not a known key; did you mean fake?",
		}},
		{"size too large", valid + "consumer:\n  max_in_flight_bytes: 99999999TiB\n", []string{
			`6:24: consumer.max_in_flight_bytes: "99999999TiB" is too large for a size`,
		}},
		{"zeros that would mean the default", valid + "  lease: 0s\nconsumer:\n  concurrency: 0\n  drain_timeout: 0s\n  max_in_flight_bytes: 0\n  retry: {backoff: {factor: 0.0}}\n", []string{
			`5:10: fake.lease: "0s" would mean the default, 30s; leave the key out for that`,
			`7:16: consumer.concurrency: "0" would mean the default, 10; leave the key out for that`,
			`8:18: consumer.drain_timeout: "0s" would mean the default, 30s; leave the key out for that, or write a negative value: handlers are cancelled at once`,
			`9:24: consumer.max_in_flight_bytes: "0" would mean the default, 64MiB; leave the key out for that`,
			`10:29: consumer.retry.backoff.factor: "0.0" would mean the default, 2, in a class that of the class; leave the key out for that`,
		}},

		{"settings out of bounds", valid + "  hosts:\n  - name: a\n    port: -1\n  durable: true\n  tls:\n    verify: false\n", []string{
			"7:11: fake.hosts[0].port: is -1: must not be negative",
			"10:13: fake.tls.verify: is false: does not go with durable",
		}},
		{"settings with faults of no key", valid + "  vhost: odd\n", []string{
			"4:3: fake: Nowhere.At is unheard of",
			"4:3: fake: no field is to blame",
		}},

		{"not closed", "broker: fake\nqueue: \"q\nfake: {}\n", []string{
			"2:8: is not valid YAML: found unexpected end of stream; is the quote closed?",
		}},
		{"list not closed", "broker: fake\nqueue: [q\n", []string{
			"2:8: is not valid YAML: did not find expected ',' or ']'",
		}},
		{"tab", "broker: fake\nconsumer:\n\tname: x\n", []string{
			"3:1: is not valid YAML: found character that cannot start any token; the line is indented with a tab: use spaces",
		}},
		{"colon in a text", "broker: fake\nqueue: a: b\n", []string{
			"2:9: is not valid YAML: mapping values are not allowed in this context; a text that holds a colon and a space needs quotes, or the lines above are not indented alike",
		}},
		{"variable inside of braces", "broker: fake\nqueue: q\nfake: {url: ${URL}}\n", []string{
			"3:14: is not valid YAML: did not find expected ',' or '}'; inside of [] and {} a value with ${NAME} needs quotes",
		}},
		{"sign at the beginning", "broker: fake\nqueue: @home\n", []string{
			"2:8: is not valid YAML: found character that cannot start any token; a text that begins with @ needs quotes",
		}},
		{"wrong indentation", "broker: fake\n  queue: q\n", []string{
			"2:8: is not valid YAML: mapping values are not allowed in this context; a text that holds a colon and a space needs quotes, or the lines above are not indented alike",
		}},
		{"two documents", valid + "---\nbroker: fake\n", []string{
			"5:1: a second document begins here; a file configures one worker, so keep one of them",
		}},
		{"document end", valid + "...\nmore: x\n", []string{
			"6:1: a second document begins here; a file configures one worker, so keep one of them",
		}},
		{"anchor, alias, merge, tag", valid + "consumer: &base\n  retry: *base\n  <<: *base\n  name: !!str x\nother: !x y\n", []string{
			"5:11: has an anchor (&); anchors and aliases are not supported: write the value out where it is used, or put a text that begins with & in quotes",
			"6:10: is an alias (*); anchors and aliases are not supported: write the value out, or put a text that begins with * in quotes",
			"7:3: consumer: merge keys (<<) are not supported; write the keys out",
			"7:7: is an alias (*); anchors and aliases are not supported: write the value out, or put a text that begins with * in quotes",
			"8:9: has a tag (!); tags are not supported: remove it, or put a text that begins with ! in quotes",
			"9:1: other: is the section of another broker: the file says broker: fake; remove the section, or change that line",
			"9:8: has a tag (!); tags are not supported: remove it, or put a text that begins with ! in quotes",
		}},
		{"unknown alias", valid + "consumer: *none\n", []string{
			"5:11: is not valid YAML; anchors, aliases and tags are not supported, and a text that begins with * needs quotes",
		}},
		{"too deep", "a: " + strings.Repeat("[", 60) + "\n", []string{
			"1:54: is not valid YAML: exceeded max depth of 50",
		}},
		{"UTF-16", "\xff\xfeb\x00r\x00", []string{
			"1:1: the file is encoded in UTF-16; save it as UTF-8",
		}},
		{"not UTF-8", "broker: fake\nqueue: caf\xe9\n", []string{
			"2:11: the byte 0xe9 is not UTF-8; save the file as UTF-8",
		}},
		{"control character", "broker: fake\nqueue: a\x00b\n", []string{
			"2:9: the control character U+0000 cannot stand in a file; inside double quotes write it as an escape",
		}},
		{"second byte order mark", "\ufeffbroker: fake\nqueue: a\ufeffb\n", []string{
			"2:9: the control character U+FEFF cannot stand in a file; inside double quotes write it as an escape",
		}},
		{"old line ends", "broker: fake\rqueue: q\r", []string{
			"1:13: the control character U+000D cannot stand in a file; inside double quotes write it as an escape",
		}},
		{"too large", "# " + strings.Repeat("x", maxFile) + "\n", []string{
			"1:1: the file is larger than 1048576 bytes; is it the right one?",
		}},
		{"columns count characters", "broker: fake\nqueue: {é: ü, ö: 1}\n", []string{
			"1:1: fake.url: is missing; add the key here. Where the broker is, with credentials.",
			"2:8: queue: is a section of keys; write one value",
		}},
	} {
		t.Run(c.name, func(t *testing.T) { wantFaults(t, c.file, env(), c.want...) })
	}
}
