package config

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// check parses arbitrary bytes: that must not panic, and every fault must lie in
// the file.
func check(t *testing.T, data []byte) string {
	_, err := Parse("w.yaml", data, env("A", "1", "B", "x y"), (&fake{}).driver(""), (&fake{}).driver("other"))
	if err == nil {
		return ""
	}
	configErr, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("%q gave %T: %v", data, err, err)
	}
	lines := strings.Split(strings.TrimPrefix(string(data), "\ufeff"), "\n")
	for _, f := range configErr.Faults {
		switch {
		case f.Line < 1 || f.Column < 1 || f.Line > len(lines) || f.Column > utf8.RuneCountInString(lines[f.Line-1])+1:
			t.Fatalf("%q: %v does not lie in the file", data, f)
		case f.File != "w.yaml" || f.Problem == "":
			t.Fatalf("%q: %+v says too little", data, f)
		}
	}
	if len(configErr.Faults) == 0 || len(configErr.Faults) > maxFaults+1 {
		t.Fatalf("%d faults", len(configErr.Faults))
	}
	return err.Error()
}

// seeds are files with something of everything.
var seeds = []string{
	"", "#", "~", "a: [", valid, "\ufeff" + valid, strings.ReplaceAll(valid, "\n", "\r\n"),
	valid + "consumer: {concurrency: 3, ordering: key, max_in_flight_bytes: 64MiB}\n",
	valid + "consumer:\n  timeout: ${A}s\n  name: \"${B:-c}\"\n  retry:\n    backoff: {initial: 1d}\n    classes:\n      bug: {max_attempts: 1}\n",
	valid + "  hosts:\n  - name: a\n    port: 1\n  - {name: b}\n  labels: {a: b, ? c : d}\n  tls: {verify: no}\n  vhost: |\n    x\n",
	"broker: &a fake\nqueue: *a\n<<: *a\nfake: !x {url: 'y'}\n---\n...\n",
	"? [a]\n: 1\n? {b: 1}\n: 2\n", "broker: fake\n\tqueue: q\n", "queue: \"q\nbroker: x", "%YAML 1.2\n---\na: 1\n", "a: b: c\n",
	"- - - -\n", "\xff\xfea\x00", "a: \x00", "a: \xe9", "a: \u2028b\n", "'a': 'b''c'\n\"d\\n\": \"e\\\n  f\"\n", "a:\n  b\n c\n", "[]", "{}", "{",
}

func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { check(t, data) })
}

// Rule: truncated and corrupted files, too, give faults that lie in the file, and
// the same faults in the same order each time.
func TestCorruptFilesGiveTheSameFaultsEachTime(t *testing.T) {
	const rounds = 3000
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range rounds {
		data := []byte(seeds[r.IntN(len(seeds))])
		for range r.IntN(4) {
			if len(data) == 0 {
				break
			}
			i := r.IntN(len(data))
			switch r.IntN(4) {
			case 0:
				data = data[:i]
			case 1:
				data[i] = "\x00\t\n\r :-[]{}#&*!|>'\"%@`?,$~0aé"[r.IntN(29)]
			case 2:
				data = slices.Insert(data, i, []byte(seeds[r.IntN(len(seeds))])...)
			case 3:
				data = slices.Delete(data, i, min(len(data), i+r.IntN(9)))
			}
		}
		if a, b := check(t, data), check(t, data); a != b {
			t.Fatalf("seed %d: %q gave\n%s\nand then\n%s", seed, data, a, b)
		}
	}
}

// Rule: faults are in the order of the file, and a file of nonsense costs little
// and is cut short.
func TestFaultsAreOrderedAndBounded(t *testing.T) {
	var nonsense strings.Builder
	nonsense.WriteString("broker: fake\nqueue: q\nconsumer:\n")
	for i := range 20_000 {
		fmt.Fprintf(&nonsense, "  k%d: [1, {a: b}]\n", i)
	}
	nonsense.WriteString("fake:\n  url: x\n" + strings.Repeat("  zz: 1\n", 1000))
	_, err := Parse("w.yaml", []byte(nonsense.String()), env(), (&fake{}).driver(""))
	configErr, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatal(err)
	}
	if n := len(configErr.Faults); n != maxFaults+1 || !strings.Contains(configErr.Faults[n-1].Problem, "faults more") {
		t.Errorf("%d faults, the last: %v", n, configErr.Faults[n-1])
	}
	if !slices.IsSortedFunc(configErr.Faults, func(a, b Fault) int { return a.Line - b.Line }) {
		t.Error("the faults are not in the order of the file")
	}
}
