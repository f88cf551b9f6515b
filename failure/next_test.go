package failure_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/anyqueue/anyqueue/failure"
)

var noon = time.Date(2025, 6, 1, 12, 0, 0, 123456789, time.UTC)

// checkBounds checks what every record promises about its parts.
func checkBounds(t *testing.T, r *failure.Record) {
	t.Helper()
	text := func(part, s string, most int) {
		if len(s) > most || !utf8.ValidString(s) {
			t.Errorf("%s has %d bytes, valid %v", part, len(s), utf8.ValidString(s))
		}
	}
	if r.Version != 1 || !r.Class.Valid() || r.Count < len(r.Attempts) || len(r.Chain) > 16 || len(r.Attempts) > 10 {
		t.Errorf("version %d, class %q, count %d, %d causes, %d attempts", r.Version, r.Class, r.Count, len(r.Chain), len(r.Attempts))
	}
	text("stack", r.Stack, 12<<10)
	text("fingerprint", r.Fingerprint, 64)
	text("trace", r.TraceID, 64)
	for _, s := range []string{r.Source, r.Consumer, r.Host, r.CodeVersion} {
		text("name", s, 256)
	}
	for _, c := range r.Chain {
		text("type", c.Type, 128)
		text("message", c.Message, 1<<10)
	}
	for _, a := range r.Attempts {
		text("error", a.Error, 512)
		if !a.Class.Valid() || a.N < 0 {
			t.Errorf("attempt %d of class %q", a.N, a.Class)
		}
	}
}

// Rule: a record tells the whole story of one failure.
func TestRecordTellsWhatFailedWhereAndWhen(t *testing.T) {
	cause := &declined{errors.New("card expired")}
	err := fmt.Errorf("refund order 7: %w", failure.Data(cause))
	r := failure.Next(nil, failure.Observation{
		Err: err, Attempt: 1, At: noon.In(time.FixedZone("here", 3600)),
		Source: "refunds", Consumer: "worker", Host: "h1", CodeVersion: "v1.2.3", TraceID: "4bf9",
	})
	want := &failure.Record{
		Version: 1, Class: failure.ClassData, Fingerprint: failure.Fingerprint(failure.ClassData, err),
		Chain: []failure.Cause{
			{Type: "*fmt.wrapError", Message: "refund order 7: declined: card expired"},
			{Type: "*failure_test.declined", Message: "declined: card expired"},
			{Type: "*errors.errorString", Message: "card expired"},
		},
		Attempts: []failure.Attempt{{N: 1, At: noon, Class: failure.ClassData, Error: err.Error()}},
		Count:    1, First: noon, Last: noon,
		Source: "refunds", Consumer: "worker", Host: "h1", CodeVersion: "v1.2.3", TraceID: "4bf9",
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got  %+v\nwant %+v", r, want)
	}
	if r.Message() != err.Error() || r.ErrorType() != "*failure_test.declined" {
		t.Errorf("listed as %q, %q", r.Message(), r.ErrorType())
	}
}

// Rule: of a panic the stack is kept, and the next failure replaces it.
func TestRecordKeepsTheStackOfAPanic(t *testing.T) {
	p := recovered(func() { throws("boom") })
	r := failure.Next(nil, failure.Observation{Err: fmt.Errorf("a: %w", p), At: noon})
	if r.Class != failure.ClassBug || r.Stack != string(p.Stack) {
		t.Errorf("class %q, stack %q", r.Class, r.Stack)
	}
	r = failure.Next(r, failure.Observation{Err: errors.New("no"), At: noon})
	if r.Stack != "" || r.Class != failure.ClassUnclassified || r.Message() != "no" {
		t.Errorf("class %q, stack %q", r.Class, r.Stack)
	}
}

// Rule: the class that was observed counts before what the error says; one that
// does not exist is unclassified; an error may be missing.
func TestObservedClassCountsBeforeTheError(t *testing.T) {
	for _, row := range []struct {
		o    failure.Observation
		want failure.Class
	}{
		{failure.Observation{Err: sqlError("40001")}, failure.ClassResource},
		{failure.Observation{Err: sqlError("40001"), Class: failure.ClassTimeout}, failure.ClassTimeout},
		{failure.Observation{Class: failure.ClassCrash}, failure.ClassCrash},
		{failure.Observation{Class: "weather"}, failure.ClassUnclassified},
		{failure.Observation{}, failure.ClassUnclassified},
	} {
		r := failure.Next(nil, row.o)
		checkBounds(t, r)
		if r.Class != row.want || r.Attempts[0].Class != row.want || r.Count != 1 {
			t.Errorf("%+v: class %q, attempt %q", row.o, r.Class, r.Attempts[0].Class)
		}
		if row.o.Err == nil && (r.Message() != "" || r.ErrorType() != "" || len(r.Fingerprint) != 16) {
			t.Errorf("%+v: listed as %q, %q, %q", row.o, r.Message(), r.ErrorType(), r.Fingerprint)
		}
	}
}

// Rule: the first and the latest nine attempts are listed, and all are counted;
// the time of the first failure stays. A model that keeps everything agrees.
func TestRecordListsTheFirstAndTheLatestAttemptsAndCountsAll(t *testing.T) {
	var r *failure.Record
	var all []failure.Attempt
	for n := 1; n <= 40; n++ {
		at := noon.Add(time.Duration(n) * time.Minute)
		r = failure.Next(r, failure.Observation{Err: fmt.Errorf("failure %d", n), Attempt: n, At: at})
		all = append(all, failure.Attempt{N: n, At: at, Class: failure.ClassUnclassified, Error: fmt.Sprintf("failure %d", n)})
		want := all
		if n > 10 {
			want = append([]failure.Attempt{all[0]}, all[n-9:]...)
		}
		if !reflect.DeepEqual(r.Attempts, want) || r.Count != n || !r.First.Equal(all[0].At) || !r.Last.Equal(at) {
			t.Fatalf("after %d failures: count %d, first %s, last %s, %+v", n, r.Count, r.First, r.Last, r.Attempts)
		}
	}
}

// Rule: a record never changes, whatever is made from it, and shares nothing
// with those that follow it.
func TestRecordIsImmutable(t *testing.T) {
	var r *failure.Record
	for n := range 12 {
		r = failure.Next(r, failure.Observation{Err: fmt.Errorf("a: %w", errors.New("b")), Attempt: n, At: noon})
	}
	before, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, next := range []*failure.Record{
		failure.Next(r, failure.Observation{Err: errors.New("one"), At: noon}),
		failure.Next(r, failure.Observation{Err: errors.New("other"), At: noon}),
	} {
		for i := range next.Attempts {
			next.Attempts[i].Error = "scribbled over"
		}
	}
	after, err := r.Encode()
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("record changed, %v:\n%s\n%s", err, before, after)
	}
}

// Rule: nothing is written into the memory of a record that is used, not even
// behind the end of its lists.
func TestRecordUsedIsNotWrittenTo(t *testing.T) {
	long := strings.Repeat("x", 5000)
	prev := &failure.Record{
		Chain:    []failure.Cause{{Type: long, Message: long}},
		Attempts: append(make([]failure.Attempt, 0, 10), failure.Attempt{N: -1, Class: "x", Error: long}),
	}
	failure.Next(prev, failure.Observation{Err: errors.New("no"), At: noon})
	if _, err := prev.Encode(); err != nil {
		t.Fatal(err)
	}
	if a := prev.Attempts[:2]; a[0].Error != long || a[0].N != -1 || a[1] != (failure.Attempt{}) || prev.Chain[0].Message != long {
		t.Errorf("written to: %.200v", prev)
	}
}

// Rule: an error that is deep is asked for the messages that are kept, not for
// all of them.
func TestOnlyMessagesThatAreKeptAreAskedFor(t *testing.T) {
	asked := 0
	err := error(&counting{&asked, nil})
	for range 60 {
		err = &counting{&asked, err}
	}
	r := failure.Next(nil, failure.Observation{Err: err, At: noon})
	if len(r.Chain) != 16 || asked > 17 {
		t.Errorf("asked %d times for %d links", asked, len(r.Chain))
	}
}

type counting struct {
	asked *int
	err   error
}

func (c *counting) Error() string { *c.asked++; return "counting" }
func (c *counting) Unwrap() error { return c.err }

// Rule: of a long chain the outermost links and the innermost are kept.
func TestLongChainKeepsItsEnds(t *testing.T) {
	err := error(&declined{errors.New("innermost")})
	for n := range 30 {
		err = fmt.Errorf("%d: %w", n, err)
	}
	r := failure.Next(nil, failure.Observation{Err: err, At: noon})
	checkBounds(t, r)
	if len(r.Chain) != 16 || r.Message() != err.Error() || r.Chain[15].Message != "innermost" {
		t.Errorf("%d links from %.20q to %q", len(r.Chain), r.Message(), r.Chain[len(r.Chain)-1].Message)
	}
}

// Rule: what is too long is cut between two characters and says so, and bytes
// that are no UTF-8 are replaced.
func TestTextsAreCutAndMadeValid(t *testing.T) {
	long := strings.Repeat("ü€", 1000)
	r := failure.Next(nil, failure.Observation{Err: errors.New("x" + long), At: noon, Source: long, TraceID: "a\xff\xfeb"})
	checkBounds(t, r)
	for _, s := range []string{r.Message(), r.Attempts[0].Error, r.Source} {
		if !strings.HasSuffix(s, "…") || strings.ContainsRune(s, utf8.RuneError) {
			t.Errorf("cut to ...%q", s[len(s)-10:])
		}
	}
	if r.TraceID != "a\uFFFDb" {
		t.Errorf("TraceID = %q", r.TraceID)
	}
}

// Rule: a count at its end stays there, and a damaged one is put right.
func TestCountNeverRunsBackwards(t *testing.T) {
	r := failure.Next(&failure.Record{Count: math.MaxInt}, failure.Observation{At: noon})
	if r.Count != math.MaxInt {
		t.Errorf("Count = %d", r.Count)
	}
	r = failure.Next(&failure.Record{Count: -7, Attempts: make([]failure.Attempt, 3)}, failure.Observation{At: noon})
	if r.Count != 4 {
		t.Errorf("Count = %d, want 4", r.Count)
	}
}

// Rule: listings of a missing record are empty.
func TestMissingRecordIsListedEmpty(t *testing.T) {
	var r *failure.Record
	if r.Message() != "" || r.ErrorType() != "" {
		t.Errorf("listed as %q, %q", r.Message(), r.ErrorType())
	}
	r = &failure.Record{Attempts: []failure.Attempt{{Error: "one"}, {Error: "two"}}}
	if r.Message() != "two" {
		t.Errorf("without a chain it is listed as %q", r.Message())
	}
}
