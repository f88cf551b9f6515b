package failure_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/failure"
)

func encode(t testing.TB, r *failure.Record) []byte {
	t.Helper()
	b, err := r.Encode()
	if err != nil {
		t.Fatalf("Encode: %v", err)
	}
	if len(b) > failure.MaxRecordBytes {
		t.Fatalf("Encode wrote %d bytes", len(b))
	}
	return b
}

func decode(t testing.TB, b []byte) *failure.Record {
	t.Helper()
	r, err := failure.Decode(b)
	if err != nil {
		t.Fatalf("Decode: %v", err)
	}
	return r
}

// Rule: the encoding is JSON that a person can read. What is written today has
// to be read by every release to come: a change here needs another version.
func TestEncodingIsFixed(t *testing.T) {
	r := failure.Next(nil, failure.Observation{
		Err: failure.Data(errors.New("<order> is cancelled")), Attempt: 1, At: noon,
		Source: "refunds", Consumer: "worker", Host: "h1", CodeVersion: "v1.2.3", TraceID: "4bf9",
	})
	r.Stack = "goroutine 1"
	want := `{"v":1,"class":"data","fingerprint":"` + r.Fingerprint + `",` +
		`"chain":[{"type":"*errors.errorString","message":"<order> is cancelled"}],"stack":"goroutine 1",` +
		`"attempts":[{"n":1,"at":"2025-06-01T12:00:00.123456789Z","class":"data","error":"<order> is cancelled"}],"count":1,` +
		`"first":"2025-06-01T12:00:00.123456789Z","last":"2025-06-01T12:00:00.123456789Z",` +
		`"source":"refunds","consumer":"worker","host":"h1","code_version":"v1.2.3","trace_id":"4bf9"}`
	if got := string(encode(t, r)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := decode(t, []byte(want)); !reflect.DeepEqual(got, r) {
		t.Errorf("decoded %+v\nwant %+v", got, r)
	}
}

// randomText is made of what is hard to encode: quotes, control characters,
// separators that JSON escapes, broken UTF-8, long runs.
func randomText(r *rand.Rand, most int) string {
	alphabets := []string{"a", "ü€😀", "\x00\x01\x1f", `"\`, "\u2028\u2029", "<>&", "\xff\xc3", "word 123 \n\t"}
	var b strings.Builder
	for n := r.IntN(most + 1); b.Len() < n; {
		a := alphabets[r.IntN(len(alphabets))]
		b.WriteString(strings.Repeat(a, 1+r.IntN(1+n/3)))
	}
	return b.String()
}

func randomError(r *rand.Rand, size int) error {
	err := errors.New(randomText(r, size))
	for range r.IntN(20) {
		switch r.IntN(6) {
		case 0:
			err = errors.Join(err, errors.New(randomText(r, size)))
		case 1:
			err = failure.DependencyOf("x", err)
		case 2:
			err = &failure.PanicError{Value: err, Stack: []byte(randomText(r, 4*size))}
		case 3:
			err = nil
		default:
			err = fmt.Errorf("%s: %w", randomText(r, size), err)
		}
		if err == nil {
			err = sqlError(randomText(r, 7))
		}
	}
	return err
}

func randomTime(r *rand.Rand) time.Time {
	switch r.IntN(5) {
	case 0:
		return time.Time{}
	case 1:
		return time.Now() // with a monotonic reading
	case 2:
		return time.Unix(r.Int64(), 0) // far beyond the year 9999
	default:
		return time.Unix(r.Int64N(4e9), r.Int64N(1e9)).In(time.FixedZone("z", r.IntN(86400)-43200))
	}
}

// Rule: whatever happened, a record encodes to at most MaxRecordBytes, the same
// bytes each time, and decodes to what it was; or, where it had to be reduced, to
// something that does from then on.
func TestEveryRecordEncodesWithinItsBoundAndDecodesToItself(t *testing.T) {
	reduced := 0
	for seed := range uint64(2000) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		size := 64
		if seed%8 == 0 {
			size = 8 << 10
		}
		var r *failure.Record
		for range 1 + rnd.IntN(14) {
			o := failure.Observation{
				Attempt: rnd.IntN(20) - 2, At: randomTime(rnd),
				Source: randomText(rnd, size), Consumer: randomText(rnd, size), Host: randomText(rnd, size),
				CodeVersion: randomText(rnd, size), TraceID: randomText(rnd, size),
			}
			if rnd.IntN(10) > 0 {
				o.Err = randomError(rnd, size)
			}
			if rnd.IntN(3) == 0 {
				o.Class = failure.Class(randomText(rnd, 3))
			}
			r = failure.Next(r, o)
		}
		checkBounds(t, r)
		b := encode(t, r)
		if !bytes.Equal(b, encode(t, r)) {
			t.Fatalf("seed %d: encoded differently", seed)
		}
		back := decode(t, b)
		checkBounds(t, back)
		if again := encode(t, back); !bytes.Equal(again, b) {
			t.Fatalf("seed %d: decoded and encoded it is another:\n%.300q\n%.300q", seed, b, again)
		}
		if reflect.DeepEqual(back, r) {
			continue
		}
		reduced++
		back.Stack, back.Chain, back.Attempts = r.Stack, r.Chain, r.Attempts
		if whole := plainJSON(t, r); whole <= failure.MaxRecordBytes || !reflect.DeepEqual(back, r) {
			t.Fatalf("seed %d: lost more than it had to: %d bytes became %d:\n%.300q", seed, whole, len(b), b)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if reduced < 50 {
		t.Errorf("only %d records were too large: the test misses its point", reduced)
	}
}

// plainJSON is how many bytes a record takes when nothing is left out.
func plainJSON(t *testing.T, r *failure.Record) int {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		t.Fatal(err)
	}
	return b.Len() - len("\n")
}

// Rule: a record that is too large loses the stack before the chain, and the
// chain before the attempts. One made by hand is bounded as well.
func TestLargeRecordLosesItsStackFirstThenItsChainThenItsAttempts(t *testing.T) {
	bad := strings.Repeat("\x01", 1<<20) // six bytes each when encoded
	line := strings.Repeat("x", 79) + "\n"
	r := &failure.Record{
		Class: "weather", Fingerprint: bad, Source: bad, Consumer: bad, Host: bad, CodeVersion: bad, TraceID: bad,
		Stack: strings.Repeat(line, 1000), Count: -1, First: time.Unix(1<<60, 0),
	}
	for range 1000 {
		r.Attempts = append(r.Attempts, failure.Attempt{N: -1, Class: "x", Error: "attempt"})
	}
	check := func(step string, stack, chain, attempts int) {
		t.Helper()
		got := decode(t, encode(t, r))
		checkBounds(t, got)
		if len(got.Stack) != stack || len(got.Chain) != chain || len(got.Attempts) != attempts {
			t.Errorf("%s: stack of %d bytes, %d causes, %d attempts, want %d, %d, %d", step,
				len(got.Stack), len(got.Chain), len(got.Attempts), stack, chain, attempts)
		}
	}
	chain := func(n int, message string) (c []failure.Cause) {
		for range n {
			c = append(c, failure.Cause{Type: "t", Message: message})
		}
		return c
	}
	check("all fits", 12<<10/80*80, 0, 10)
	r.Chain = chain(20, strings.Repeat("m", 800))
	check("upper stack", 3<<10/80*80, 16, 10)
	r.Chain = chain(20, strings.Repeat("\x01", 240))
	check("no stack", 0, 16, 10)
	r.Chain = chain(20, bad)
	check("ends of the chain", 0, 2, 10)
	for i := range r.Attempts {
		r.Attempts[i].Error = strings.Repeat("\x01", 300)
	}
	check("no chain", 0, 0, 10)
	for i := range r.Attempts {
		r.Attempts[i].Error = bad
	}
	check("ends of the attempts", 0, 0, 2)
}

// Rule: what cannot be a record of this version is refused with an error that
// can be told from others; fields and classes from the future are not.
func TestDecodeRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, row := range []struct {
		in      string
		version int
	}{
		{`{"v":2,"class":["another","shape"]}`, 2},
		{`{"v":-1}`, -1},
		{`{}`, 0},
		{`null`, 0},
	} {
		_, err := failure.Decode([]byte(row.in))
		var unknown *failure.VersionError
		if !errors.As(err, &unknown) || unknown.Version != row.version {
			t.Errorf("%s: %v, want a VersionError", row.in, err)
		}
	}
	for _, in := range []string{``, `{`, `[]`, `"v"`, `{"v":1,"chain":7}`, `{"v":1}x`, `{"v":"1"}`, `{"v":1,"first":"noon"}`} {
		r, err := failure.Decode([]byte(in))
		if r != nil || failure.Classify(err) != failure.ClassFormat && !strings.Contains(in, "noon") {
			t.Errorf("%s: %v, %v, want an error of class format", in, r, err)
		}
	}
	large := append([]byte(`{"v":1}`), bytes.Repeat([]byte(" "), failure.MaxRecordBytes)...)
	if _, err := failure.Decode(large); !errors.Is(err, failure.ErrRecordTooLarge) {
		t.Errorf("%d bytes: %v", len(large), err)
	}
	if r := decode(t, large[:failure.MaxRecordBytes]); r.Class != failure.ClassUnclassified {
		t.Errorf("class %q", r.Class)
	}
	if r := decode(t, []byte(`{"v":1,"class":"weather","mood":[1],"attempts":[null,{"class":"x"}]}`)); r.Class != failure.ClassUnclassified || r.Count != 2 {
		t.Errorf("decoded %+v", r)
	}
}

// Rule: a record that this release cannot write is refused.
func TestEncodeRefusesOtherVersionsAndNil(t *testing.T) {
	var unknown *failure.VersionError
	if _, err := (&failure.Record{Version: 2}).Encode(); !errors.As(err, &unknown) {
		t.Errorf("version 2: %v", err)
	}
	if _, err := (*failure.Record)(nil).Encode(); err == nil {
		t.Error("nil: no error")
	}
	if b := encode(t, &failure.Record{}); !json.Valid(b) || decode(t, b).Version != 1 {
		t.Errorf("zero record: %s", b)
	}
}

func FuzzDecode(f *testing.F) {
	full := failure.Next(nil, failure.Observation{
		Err: fmt.Errorf("a: %w", errors.Join(recovered(func() { throws("x") }), sqlError("40001"))), Attempt: 3, At: noon,
		Source: "s", Consumer: "c", Host: "h", CodeVersion: "v", TraceID: "t",
	})
	valid := encode(f, failure.Next(full, failure.Observation{Class: failure.ClassCrash, At: noon}))
	f.Add(valid)
	f.Add(encode(f, full))
	f.Add(encode(f, &failure.Record{}))
	f.Add(valid[:len(valid)/2])
	f.Add(append(bytes.Clone(valid), valid...))
	f.Add(bytes.ReplaceAll(valid, []byte(`"`), []byte(`'`)))
	f.Add(bytes.ReplaceAll(valid, []byte(`:1`), []byte(`:-1e99`)))
	f.Add([]byte(`{"v":1,"chain":[{"message":"\ud800\u0000"}],"count":9223372036854775807,"last":"0000-01-01T00:00:00+23:59"}`))
	f.Add([]byte(`{"v":1,"V":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := failure.Decode(b)
		if err != nil {
			return
		}
		checkBounds(t, r)
		_, _ = r.Message(), r.ErrorType()
		out := encode(t, r)
		back := decode(t, out)
		if !bytes.Equal(encode(t, back), out) {
			t.Fatalf("not stable:\n%s\n%s", out, encode(t, back))
		}
		checkBounds(t, failure.Next(r, failure.Observation{Err: errors.New("next"), At: noon}))
	})
}
