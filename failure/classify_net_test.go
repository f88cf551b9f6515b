package failure_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/failure"
)

func wantClass(t *testing.T, err error, want failure.Class) {
	t.Helper()
	if err == nil {
		t.Fatal("no error to classify")
	}
	if got := failure.Classify(err); got != want {
		t.Errorf("Classify(%T: %v) = %q, want %q", err, err, got, want)
	}
}

func get(t *testing.T, client *http.Client, url string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err == nil {
		_ = res.Body.Close()
	}
	return err
}

// Rule: a real dial to a port where nobody listens is a failure of the
// dependency, by every way that leads there.
func TestRefusedDialIsADependencyFailure(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()

	_, err = net.Dial("tcp", addr)
	wantClass(t, err, failure.ClassDependency)
	if got := failure.ErrorType(err); got != "ECONNREFUSED" {
		t.Errorf("ErrorType = %q, want ECONNREFUSED", got)
	}
	wantClass(t, get(t, &http.Client{Transport: &http.Transport{}}, "http://"+addr), failure.ClassDependency)
}

// Rule: a certificate that is not trusted, a server that does not speak TLS and
// one that breaks off are failures of the dependency.
func TestFailedTLSIsADependencyFailure(t *testing.T) {
	silent := log.New(io.Discard, "", 0)
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = silent
	secure.StartTLS()
	defer secure.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()

	wantClass(t, get(t, client, secure.URL), failure.ClassDependency)
	wantClass(t, get(t, client, "https://"+plain.Listener.Addr().String()), failure.ClassDependency)

	// Without net/http around them.
	_, err := tls.Dial("tcp", secure.Listener.Addr().String(), &tls.Config{})
	wantClass(t, err, failure.ClassDependency)
	var untrusted *tls.CertificateVerificationError
	if !errors.As(err, &untrusted) {
		t.Fatalf("%T is not what this test is about", err)
	}
	wantClass(t, untrusted.Err, failure.ClassDependency)
	_, err = tls.Dial("tcp", plain.Listener.Addr().String(), &tls.Config{})
	wantClass(t, err, failure.ClassDependency)
	_, err = tls.Dial("tcp", secure.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS10, MinVersion: tls.VersionTLS10})
	wantClass(t, err, failure.ClassDependency)
}

// Rule: a server that is too slow is a failure of the dependency, whether the
// client's timeout, the request's deadline or a deadline of the connection ended
// the wait; one that hangs up as well. A request that we cancelled is not.
func TestSlowServerIsADependencyFailureAndACancelledRequestIsNot(t *testing.T) {
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang-up" {
			panic(http.ErrAbortHandler)
		}
		<-stop
	}))
	defer server.Close()
	defer close(stop)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}

	wantClass(t, get(t, &http.Client{Transport: transport, Timeout: 20 * time.Millisecond}, server.URL), failure.ClassDependency)
	wantClass(t, get(t, client, server.URL+"/hang-up"), failure.ClassDependency)

	send := func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	wantClass(t, send(ctx), failure.ClassDependency)
	wantClass(t, ctx.Err(), failure.ClassTimeout)

	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	wantClass(t, send(ctx), failure.ClassUnclassified)

	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(-time.Second))
	_, err = conn.Read(make([]byte, 1))
	wantClass(t, err, failure.ClassDependency)
}

// Rule: a name that does not resolve is a failure of the dependency. No server
// is asked: the resolver's own dial fails.
func TestFailedLookupIsADependencyFailure(t *testing.T) {
	down := errors.New("resolver is down")
	r := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, down }}
	_, err := r.LookupHost(t.Context(), "payments.invalid.")
	wantClass(t, err, failure.ClassDependency)
	if got := failure.ErrorType(err); got != "*net.DNSError" {
		t.Errorf("ErrorType = %q, want *net.DNSError", got)
	}
}
