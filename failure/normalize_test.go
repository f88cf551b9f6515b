package failure

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Rule: of messages as Go, databases and services write them, what tells the
// failure stays and what varies goes.
func TestMessagesKeepTheirWordsAndLoseWhatVaries(t *testing.T) {
	for in, want := range map[string]string{
		"":                                  "",
		" \t\n":                             "",
		"order 42 is cancelled":             "order # is cancelled",
		"line one\nline two\n\n end":        "line one line two end",
		"refund can't be paid: user's card": "refund can't be paid: user's card",
		"größe 5 „foo“ → bar 7":             "größe # „foo“ → bar #",
		"runtime error: index out of range [5] with length 3":           "runtime error: index out of range [#] with length #",
		"context deadline exceeded (Client.Timeout exceeded)":           "context deadline exceeded (Client.Timeout exceeded)",
		"I/O error, read/write of application/json":                     "I/O error, read/write of application/json",
		"read tcp 10.1.2.3:54321->10.0.0.1:5432: i/o timeout":           "read tcp <address>-><address>: i/o timeout",
		"read tcp [::1]:54321->[fe80::1%eth0]:5432: read: reset":        "read tcp <address>-><address>: read: reset",
		"listen [not an address]:80 of [::1":                            "listen [not an address]:# of [<address>",
		"lookup pay-7d9f8b6c5-x2x9z.svc on 10.0.0.10:53: not found":     "lookup pay-#-#.svc on <address>: not found",
		`Post "https://x.example/v1/9f3": connection refused`:           "Post <text>: connection refused",
		"get https://u:p@x.example:443/v1?id=5&x='a': 503":              "get https://x.example<path><text>: #",
		"get http://[::1]:80/a, http://10.0.0.1":                        "get http://<address><path>, http://<address>",
		"redis://user:pass@10.0.0.1:6379/0: NOAUTH":                     "redis://<address><path>: NOAUTH",
		`ERROR: duplicate key "orders_pkey" (SQLSTATE 23505)`:           "ERROR: duplicate key <text> (SQLSTATE #)",
		"Duplicate entry '17-abc' for key 'orders.PRIMARY'":             "Duplicate entry <text> for key <text>",
		"SQS: RequestID: 4d2f6b1e-1c1a-5d5e-8a6f-0d6b6f6f6f6f, x":       "SQS: RequestID: #, x",
		"payment refund-4d2f6b1e-1c1a-5d5e-8a6f-0d6b6f6f6f6f_a":         "payment refund-#_a",
		"receipt AQEBzZ1+/aGVsbG8gd29ybGQ= expired":                     "receipt #= expired",
		"no event 01ARZ3NDEKTSV4RRFFQ69G5FAV":                           "no event #",
		"trace 4bf92f3577b34da6a3ce929d0e0e4736, commit deadbeef":       "trace #, commit #",
		"facade, decade and cafe are words":                             "facade, decade and cafe are words",
		"msg 0xc000123456 at 0xab":                                      "msg # at #",
		"topic orders-v2 partition 17: not leader":                      "topic orders-v# partition #: not leader",
		"amount 1,234.56 EUR is below -10.5e3, 50% of 10GB":             "amount # EUR is below #% of #GB",
		"ids [1 2 3], (4, 5), {6}":                                      "ids [#], (#), {#}",
		"missing 'a', 'b' and \"c\"":                                    "missing <text> and <text>",
		"unclosed 'a and \"b and `c":                                    "unclosed 'a and \"b and `c",
		`escaped "a\"b c" and 'd\'e'`:                                   "escaped <text> and <text>",
		"took 1.5s of 1h0m0s; tried for 350ms.":                         "took <duration> of <duration>; tried for <duration>.",
		"2024/01/02 15:04:05 a; 2024-01-02 15:04:05.9 +0000 UTC m=+0.1": "<time> a; <time> # UTC m=#",
		"valid 2024-05-01T12:00:00Z to 2025-05-01T12:00:00.123+02:00":   "valid <time> to <time>",
		"open /tmp/x123/abc.json: no such file or directory":            "open <path>: no such file or directory",
		`open C:\data\7.json: not found; \\host\share, ../a, ~/b`:       "open <path>: not found; <path>",
		"mail to <bob.smith+x@example.co.uk> bounced":                   "mail to <<email>> bounced",
		"github.com/foo/bar@v1.2.3: bad":                                "github.com/foo/bar@v#.#.#: bad",
		`{"error":"x","id":17}`:                                         "{<text>:<text>:#}",
		"code = Unavailable desc = a -> b":                              "code = Unavailable desc = a -> b",
	} {
		if got := normalize(in); got != want {
			t.Errorf("normalize(%q)\n got %q\nwant %q", in, got, want)
		}
	}
}

// Rule: however a message is made, normalising it takes a time in proportion to
// its length. If it were its square, this test would take minutes.
func TestNormalizingTakesLinearTime(t *testing.T) {
	for _, part := range []string{"'a ", "a'", "[::", "[", "1.", "->", "a:", "://", "http://", "0", "-", "\"\\", "(", "é", "2024-01-02T", "@a.b", "1s"} {
		if normalize(strings.Repeat(part, 1<<20/len(part))) == "" {
			t.Errorf("%q repeated became nothing", part)
		}
	}
}

// Rule: a quote that is not closed is looked for once, not from every quote.
func TestUnclosedQuotesAreSearchedOnce(t *testing.T) {
	if normalize(strings.Repeat("'a ", 8<<20)) == "" { // if not, this would take hours
		t.Error("it became nothing")
	}
}

func FuzzNormalize(f *testing.F) {
	f.Add("read tcp 10.1.2.3:54321->[::1]:5432: \"i/o\" 'timeout' after 3s at 2024-01-02T15:04:05Z")
	f.Add("4d2f6b1e-1c1a-5d5e-8a6f-0d6b6f6f6f6f http://a@b/c?d=e x@y.zz /a/b C:\\x 0xff [1 2, 3]")
	f.Fuzz(func(t *testing.T, s string) {
		out := normalize(capped(s, maxTextBytes))
		if !utf8.ValidString(out) {
			t.Fatalf("normalize(%q) = %q is no UTF-8", s, out)
		}
		if out != normalize(capped(s, maxTextBytes)) {
			t.Fatalf("normalize(%q) differs from run to run", s)
		}
	})
}

// Rule: capped returns valid UTF-8 within its limit, does not change what is so
// already, and cuts nothing that fits.
func FuzzCapped(f *testing.F) {
	f.Add("abc", 3)
	f.Add("ü€😀\xff\xff\xff\xff\xff\xff", 7)
	f.Add(strings.Repeat("\xff", 40), 16)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = len(ellipsis) + limit&0xff
		for _, cut := range []func(string, int) string{capped, cappedLines} {
			out := cut(s, limit)
			if len(out) > limit || !utf8.ValidString(out) || cut(out, limit) != out {
				t.Fatalf("%q cut to %d is %q", s, limit, out)
			}
			if len(s) <= limit && utf8.ValidString(s) && out != s {
				t.Fatalf("%q fits into %d and became %q", s, limit, out)
			}
		}
	})
}
