package failure_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/failure"
)

// classified is one row: an error, and what has to be found out about it.
type classified struct {
	name      string
	err       error
	class     failure.Class
	errorType string
}

// wantClassified checks each row as it is, deep inside of wrappers, and beside
// another error.
func wantClassified(t *testing.T, rows []classified) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			for _, err := range []error{
				row.err,
				fmt.Errorf("charge order 7: %w", fmt.Errorf("pay: %w", row.err)),
				errors.Join(errors.New("rolled back"), fmt.Errorf("pay: %w", row.err)),
				fmt.Errorf("%w: %w", errors.New("payment refused"), row.err),
			} {
				if got := failure.Classify(err); got != row.class {
					t.Errorf("Classify(%T: %v) = %q, want %q", err, err, got, row.class)
				}
				if got := failure.ErrorType(err); got != row.errorType {
					t.Errorf("ErrorType(%T: %v) = %q, want %q", err, err, got, row.errorType)
				}
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

// Rule: bytes that do not decode are of class format, by the errors that the
// standard library's decoders return.
func TestBytesThatDoNotDecodeAreOfClassFormat(t *testing.T) {
	var order struct {
		ID int `json:"id" xml:"id"`
	}
	wantClassified(t, []classified{
		{"JSON syntax", json.Unmarshal([]byte(`{"id":`), &order), "format", "*json.SyntaxError"},
		{"JSON type", json.Unmarshal([]byte(`{"id":"x"}`), &order), "format", "*json.UnmarshalTypeError"},
		{"JSON stream", json.NewDecoder(strings.NewReader(`{id}`)).Decode(&order), "format", "*json.SyntaxError"},
		{"XML syntax", xml.Unmarshal([]byte(`<order><id>`), &order), "format", "*xml.SyntaxError"},
		{"base64", second(base64.StdEncoding.DecodeString("%%")), "format", "base64.CorruptInputError"},
		{"base32", second(base32.StdEncoding.DecodeString("%%")), "format", "base32.CorruptInputError"},
		{"hex digit", second(hex.DecodeString("zz")), "format", "hex.InvalidByteError"},
		{"hex length", second(hex.DecodeString("abc")), "format", "*errors.errorString"},
	})
}

// Rule: a deadline of the work itself is a timeout; one inside of a network
// operation is the dependency's.
func TestDeadlineIsATimeoutOnlyOutsideOfANetworkOperation(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), -1)
	defer cancel()
	wantClassified(t, []classified{
		{"context", ctx.Err(), "timeout", "context.deadlineExceededError"},
		{"file", &fs.PathError{Op: "read", Path: "|0", Err: os.ErrDeadlineExceeded}, "timeout", "*poll.DeadlineExceededError"},
		{"HTTP request", &url.Error{Op: "Get", URL: "http://x", Err: ctx.Err()}, "dependency", "context.deadlineExceededError"},
		{"read", &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}, "dependency", "*poll.DeadlineExceededError"},
		{"other net.Error", netError{timeout: true}, "dependency", "failure_test.netError"},
		{"net.Error without a timeout", netError{}, "unclassified", "failure_test.netError"},
	})
}

type netError struct{ timeout bool }

func (netError) Error() string   { return "net" }
func (e netError) Timeout() bool { return e.timeout }
func (netError) Temporary() bool { return false }

var _ net.Error = netError{}

// Rule: what was cancelled is nobody's failure, whatever it was doing.
func TestCancellationIsUnclassified(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, dial := (&net.Dialer{}).DialContext(ctx, "tcp", "127.0.0.1:1")
	wantClassified(t, []classified{
		{"context", context.Canceled, "unclassified", "*errors.errorString"},
		{"HTTP request", &url.Error{Op: "Get", URL: "http://x", Err: context.Canceled}, "unclassified", "*url.Error"},
		{"dial", dial, "unclassified", "net.canceledError"},
	})
}

// Rule: a lost connection is the dependency's fault, and a machine that has run
// out of something is short of a resource, even if a dial noticed it.
func TestErrnosOfTheKernelAreClassified(t *testing.T) {
	dial := func(e syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", e)}
	}
	wantClassified(t, []classified{
		{"refused", syscall.ECONNREFUSED, "dependency", "ECONNREFUSED"},
		{"reset", dial(syscall.ECONNRESET), "dependency", "ECONNRESET"},
		{"broken pipe", &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.EPIPE)}, "dependency", "EPIPE"},
		{"no files left, in a dial", dial(syscall.EMFILE), "resource", "EMFILE"},
		{"no ports left", dial(syscall.EADDRNOTAVAIL), "resource", "EADDRNOTAVAIL"},
		{"disk full", &fs.PathError{Op: "write", Path: "/tmp/x", Err: syscall.ENOSPC}, "resource", "ENOSPC"},
		{"no memory", os.NewSyscallError("mmap", syscall.ENOMEM), "resource", "ENOMEM"},
		{"no such file", second(os.Open("no such file")), "unclassified", "ENOENT"},
		{"unknown", syscall.Errno(99999), "unclassified", "syscall.Errno"},
	})
}

// Rule: what nobody knows stays unclassified, and is named by the innermost type
// that says something.
func TestUnknownErrorsAreUnclassifiedAndNamedByTheirType(t *testing.T) {
	plain := errors.New("no")
	wantClassified(t, []classified{
		{"plain", plain, "unclassified", "*errors.errorString"},
		{"formatted", fmt.Errorf("no %d", 7), "unclassified", "*errors.errorString"},
		{"end of file", io.ErrUnexpectedEOF, "unclassified", "*errors.errorString"},
		{"no rows", sql.ErrNoRows, "unclassified", "*errors.errorString"},
		{"own type around a plain one", &declined{plain}, "unclassified", "*failure_test.declined"},
		{"the first branch that says something", errors.Join(plain, &declined{plain}, typed[int]{}), "unclassified", "*failure_test.declined"},
		{"type with parameters", typed[int]{}, "unclassified", "failure_test.typed[int]"},
		{"malformed URL", second(new(url.URL).Parse("http://[")), "unclassified", "*url.Error"},
		{"lost connection", driver.ErrBadConn, "dependency", "*errors.errorString"},
	})
	if got := failure.Classify(nil); got != "" {
		t.Errorf("Classify(nil) = %q, want none", got)
	}
	if got := failure.ErrorType(nil); got != "" {
		t.Errorf("ErrorType(nil) = %q, want none", got)
	}
}

type declined struct{ err error }

func (d *declined) Error() string { return "declined: " + d.err.Error() }
func (d *declined) Unwrap() error { return d.err }

type typed[T any] struct{}

func (typed[T]) Error() string { return "typed" }

// Rule: of several codes the one that a service gave counts before what only
// says where the error came from, wherever in the error they stand.
func TestCodeOfAServiceCountsBeforeItsTransport(t *testing.T) {
	throttled := &statusError{status: 400, err: awsError("ThrottlingException")}
	wantClassified(t, []classified{
		{"AWS code inside of an HTTP status", throttled, "resource", "ThrottlingException"},
		{"AWS code unknown, status known", &statusError{404, awsError("NoSuchKey")}, "data", "NoSuchKey"},
		{"SQLSTATE beside a deadline", errors.Join(context.DeadlineExceeded, sqlError("40001")), "resource", "40001"},
		{"the first of equals", errors.Join(sqlError("40001"), sqlError("23505")), "resource", "40001"},
	})
}

// Rule: every class is valid, names parse to themselves, and nothing else does.
func TestSetOfClassesIsClosed(t *testing.T) {
	for _, c := range failure.Classes() {
		if got, ok := failure.ParseClass(string(c)); !c.Valid() || !ok || got != c {
			t.Errorf("%q: valid %v, parses to %q, %v", c, c.Valid(), got, ok)
		}
	}
	for _, name := range []string{"", "Format", "format ", "unknown"} {
		if got, ok := failure.ParseClass(name); ok || got != "" || failure.Class(name).Valid() {
			t.Errorf("ParseClass(%q) = %q, %v, want none", name, got, ok)
		}
	}
}

// Rule: classifying an error that says nothing costs no allocation.
func TestClassifyingAPlainErrorDoesNotAllocate(t *testing.T) {
	plain := errors.New("no")
	for name, err := range map[string]error{
		"plain":   plain,
		"wrapped": fmt.Errorf("a: %w", fmt.Errorf("b: %w", plain)),
		"stated":  failure.Dependency(plain),
		"context": fmt.Errorf("a: %w", context.DeadlineExceeded),
	} {
		if n := testing.AllocsPerRun(100, func() { failure.Classify(err) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// Rule: errors met for the first time by many goroutines at once are classified
// as ever.
func TestClassifyIsSafeForConcurrentUse(t *testing.T) {
	start := make(chan struct{})
	done := make(chan failure.Class)
	for range 16 {
		go func() {
			<-start
			done <- failure.Classify(fmt.Errorf("a: %w", fresh{}))
		}()
	}
	close(start)
	timeout := time.After(10 * time.Second)
	for range 16 {
		select {
		case c := <-done:
			if c != failure.ClassData {
				t.Errorf("class %q, want data", c)
			}
		case <-timeout:
			t.Fatal("no answer")
		}
	}
}

// fresh is used in one test alone, so that its type is new there.
type fresh struct{}

func (fresh) Error() string    { return "fresh" }
func (fresh) SQLState() string { return "23505" }
