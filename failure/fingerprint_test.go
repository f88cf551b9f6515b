package failure_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/failure"
)

// Rule: the fingerprint is the same in every run and build. Whoever changes one
// of these values splits the groups of every dead-letter queue, and says so in
// the list of changes.
func TestFingerprintIsTheSameInEveryBuild(t *testing.T) {
	stack := []byte("goroutine 7 [running]:\nexample.com/shop.(*Refunds).Pay(0xc000010000)\n\t/src/shop/refund.go:42 +0x1d\n")
	for want, err := range map[string]error{
		"6ef23a11d0250c1f": nil,
		"e06e71fad47f177c": errors.New("order 42 is cancelled"),
		"750dcab98eeb0085": fmt.Errorf("charge: %w", sqlError("40001")),
		"7a047668bdeea6dd": &failure.PanicError{Value: "boom", Stack: stack},
	} {
		if got := failure.Fingerprint(failure.ClassData, err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

// varying makes a message whose ids, times and so on are random.
var varying = map[string]func(r *mrand.Rand) string{
	"number": func(r *mrand.Rand) string { return fmt.Sprintf("order %d is cancelled", r.Int64()>>r.IntN(63)) },
	"signed and decimal": func(r *mrand.Rand) string {
		return fmt.Sprintf("balance %v is too low for %.2f%%", (r.Float64()-0.5)*1e9, r.Float64())
	},
	"list":      func(r *mrand.Rand) string { return fmt.Sprint("orders failed: ", make([]int, 1+r.IntN(9)), "!") },
	"uuid":      func(r *mrand.Rand) string { return "payment " + uuid(r) + ": declined" },
	"uuid part": func(r *mrand.Rand) string { return "key refund-" + uuid(r) + "-v2: taken" },
	"ulid":      func(r *mrand.Rand) string { return "no event " + ulid(r) },
	"hex":       func(r *mrand.Rand) string { return fmt.Sprintf("trace %016x not found", r.Uint64()) },
	"short hex": func(r *mrand.Rand) string { return fmt.Sprintf("commit %08x not found", r.Uint32()) },
	"pointer":   func(r *mrand.Rand) string { return fmt.Sprintf("bad object at %#x", r.Uint64()>>r.IntN(60)) },
	"quoted":    func(r *mrand.Rand) string { return fmt.Sprintf("customer %q isn't known", name(r)+`" '`) },
	"quoted list": func(r *mrand.Rand) string {
		return "missing: " + strings.Join(strings.Fields(strings.Repeat("'a b' ", 1+r.IntN(5))), " ")
	},
	"address": func(r *mrand.Rand) string {
		return fmt.Sprintf("read tcp %v->%v: i/o timeout", netip.AddrPortFrom(ip(r), uint16(r.Uint32())), netip.AddrPortFrom(ip(r), 5432))
	},
	"host and port": func(r *mrand.Rand) string {
		return fmt.Sprintf("dial tcp: lookup db.internal on %v:53: no such host, port %d", netip.AddrFrom4([4]byte{10, 0, 0, byte(r.Uint32())}), r.IntN(1<<16))
	},
	"url": func(r *mrand.Rand) string {
		return fmt.Sprintf("get https://api.example.com:443/v1/orders/%d?key=%s&x=1: 503", r.IntN(1e9), name(r))
	},
	"time": func(r *mrand.Rand) string {
		at := time.Unix(r.Int64N(4e9), r.Int64N(2)*r.Int64N(1e9)).UTC()
		return fmt.Sprintf("since %s, expires %s (%s)", at.Format(time.RFC3339Nano), at.Format("2006/01/02 15:04:05"), at)
	},
	"duration": func(r *mrand.Rand) string {
		return fmt.Sprintf("no result within %s: gave up", time.Duration(r.Int64()>>r.IntN(63)))
	},
	"email": func(r *mrand.Rand) string {
		return fmt.Sprintf("mail to <x.%d+%s@mail-%d.example.com> bounced", r.Int(), name(r), r.IntN(9))
	},
	"path": func(r *mrand.Rand) string {
		return fmt.Sprintf("open /var/lib/%s/%d.json: no such file or directory", name(r), r.Int())
	},
	"windows path": func(r *mrand.Rand) string {
		return fmt.Sprintf(`open C:\data\%s\%d.json: The system cannot find the file`, name(r), r.Int())
	},
	"token": func(r *mrand.Rand) string {
		b := make([]byte, 48)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return "receipt AQEB1a" + base64.StdEncoding.EncodeToString(b) + " has expired"
	},
	"key and value": func(r *mrand.Rand) string { return fmt.Sprintf("id=%d,tenant:%d refused", r.Int(), r.Int()) },
}

func ulid(r *mrand.Rand) string { return "01" + letters(r, "0123456789ABCDEFGHJKMNPQRSTVWXYZ", 24) }

func name(r *mrand.Rand) string { return letters(r, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 26) }

func uuid(r *mrand.Rand) string {
	const hex = "0123456789abcdef"
	var parts []string
	for _, n := range []int{8, 4, 4, 4, 12} {
		parts = append(parts, letters(r, hex, n))
	}
	return strings.Join(parts, "-")
}

func letters(r *mrand.Rand, alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

func ip(r *mrand.Rand) netip.Addr {
	if r.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{10, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
	}
	var b [16]byte
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return netip.AddrFrom16(b)
}

// Rule: the same failure with other ids, addresses, times, paths and the like
// has the same fingerprint, and different failures have different ones.
func TestFingerprintIgnoresWhatVaries(t *testing.T) {
	owners := make(map[string]string)
	for kind, message := range varying {
		var first, want string
		for seed := range uint64(2000) {
			text := message(mrand.New(mrand.NewPCG(seed, 0)))
			got := failure.Fingerprint(failure.ClassData, errors.New(text))
			if seed == 0 {
				first, want = text, got
			}
			if got != want {
				t.Errorf("%s: not the same, seeds 0 and %d:\n%s\n%s", kind, seed, first, text)
				break
			}
		}
		if owner, taken := owners[want]; taken {
			t.Errorf("%s and %s have the same fingerprint", kind, owner)
		}
		owners[want] = kind
	}
}

// Rule: class, error type and words make a difference.
func TestFingerprintTellsFailuresApart(t *testing.T) {
	var v struct{ A int }
	seen := make(map[string]int)
	for i, f := range []struct {
		class failure.Class
		err   error
	}{
		{failure.ClassData, errors.New("order is cancelled")},
		{failure.ClassBug, errors.New("order is cancelled")},
		{failure.ClassData, errors.New("order is refunded")},
		{failure.ClassData, failure.Data(&declined{errors.New("order is cancelled")})},
		{failure.ClassData, sqlError("23505")},
		{failure.ClassData, sqlError("23503")},
		{failure.ClassData, errors.New("lookup payments.internal: no such host")},
		{failure.ClassData, errors.New("lookup orders.internal: no such host")},
		{failure.ClassData, errors.New("i/o timeout")},
		{failure.ClassFormat, json.Unmarshal([]byte("{"), &v)},
		{failure.ClassFormat, json.Unmarshal([]byte("x"), &v)},
		{failure.ClassData, nil},
		{failure.ClassData, errors.New("")},
		{"", nil},
	} {
		got := failure.Fingerprint(f.class, f.err)
		if j, taken := seen[got]; taken {
			t.Errorf("failures %d and %d have the same fingerprint", i, j)
		}
		seen[got] = i
	}
}

// panicWith makes a printed stack of a goroutine, innermost function first.
func panicWith(value any, functions ...string) error {
	stack := "goroutine 18 [running]:\n"
	for i, f := range functions {
		stack += fmt.Sprintf("%s(0xc%09d, {0x1, 0x%d})\n\t/home/me/src/%d.go:%d +0x%x\n", f, i, i, i, mrand.IntN(1000), mrand.IntN(1000))
	}
	return &failure.PanicError{Value: value, Stack: []byte(stack + "created by example.com/shop.main in goroutine 1\n\t/main.go:1 +0x1\n")}
}

// Rule: of a panic the functions closest to it count, those of the standard
// library and of this module excepted, by their names alone.
func TestFingerprintOfAPanicCountsTheFunctionsThatPanicked(t *testing.T) {
	const ours = "github.com/anyqueue/anyqueue/runtime.(*Consumer).call"
	printOf := func(err error) string { return failure.Fingerprint(failure.ClassBug, err) }
	want := printOf(panicWith("boom", "example.com/shop.(*Refunds).Pay", "example.com/shop.Handle", ours))

	for name, same := range map[string]error{
		"another place in the file": panicWith("boom", "example.com/shop.(*Refunds).Pay", "example.com/shop.Handle", ours),
		"by way of the standard library": panicWith("boom", "strings.Repeat", "internal/bytealg.Index", "example.com/shop.(*Refunds).Pay",
			"encoding/json.(*Decoder).Decode", "example.com/shop.Handle", "github.com/anyqueue/anyqueue/middleware.Timeout.func1", ours),
		"wrapped in nothing": failure.Bug(panicWith("boom", "example.com/shop.(*Refunds).Pay", "example.com/shop.Handle")),
	} {
		if printOf(same) != want {
			t.Errorf("%s: a panic of the same functions is another one", name)
		}
	}
	for name, other := range map[string]error{
		"another function": panicWith("boom", "example.com/shop.(*Refunds).Book", "example.com/shop.Handle", ours),
		"another message":  panicWith("bang", "example.com/shop.(*Refunds).Pay", "example.com/shop.Handle", ours),
		"another module":   panicWith("boom", "example.com/shop.(*Refunds).Pay", "example.com/shop.Handle", "github.com/anyqueue/anyqueue-shop.Run", ours),
		"no functions":     panicWith("boom"),
	} {
		if printOf(other) == want {
			t.Errorf("%s: a panic of other functions is the same one", name)
		}
	}

	deep := []string{"a.com/x.A", "a.com/x.B", "a.com/x.C"}
	if printOf(panicWith("x", append(deep, "a.com/x.D")...)) != printOf(panicWith("x", append(deep, "a.com/x.E")...)) {
		t.Error("a fourth function counts")
	}
	if printOf(panicWith("x", ours)) == printOf(panicWith("x", ours+"2")) {
		t.Error("panics of this module itself cannot be told apart")
	}
}

// Rule: real panics are the same in every goroutine and with every value, and
// others at another place.
func TestFingerprintOfARealPanicIsThatOfItsPlace(t *testing.T) {
	printOf := func(f func()) string { return failure.Fingerprint(failure.ClassBug, recovered(f)) }
	index := 1
	outOfRange := func() { faulty(make([]int, index), index+1) }
	want := printOf(outOfRange)

	index = 5
	elsewhere := make(chan string)
	go func() { elsewhere <- printOf(outOfRange) }()
	if got := <-elsewhere; got != want {
		t.Errorf("in another goroutine it is %s, not %s", got, want)
	}
	if got := printOf(func() { faulty(make([]int, index), index+1) }); got == want {
		t.Error("another caller has the same fingerprint")
	}
}
