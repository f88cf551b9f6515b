package rabbit

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// Every code of AMQP, and every way in which the network fails, has the category
// that says what to do about it, and stays reachable.
func TestErrorsHaveTheirCategory(t *testing.T) {
	t.Parallel()
	reply := func(code int, reason string) error { return &amqp.Error{Code: code, Reason: reason, Server: true} }
	for _, c := range []struct {
		err   error
		want  error
		final bool
	}{
		{reply(amqp.ContentTooLarge, ""), broker.ErrTooLarge, false},
		{reply(amqp.NoRoute, ""), broker.ErrNotFound, true},
		{reply(amqp.NoConsumers, ""), broker.ErrNotFound, true},
		{reply(amqp.ConnectionForced, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"), broker.ErrDisconnected, false},
		{reply(amqp.InvalidPath, ""), broker.ErrNotFound, true},
		{reply(amqp.AccessRefused, "ACCESS_REFUSED - access to queue 'q'"), broker.ErrAccessDenied, true},
		{reply(amqp.NotFound, "NOT_FOUND - no queue 'q' in vhost '/'"), broker.ErrNotFound, true},
		{reply(amqp.ResourceLocked, ""), broker.ErrAccessDenied, true},
		{reply(amqp.PreconditionFailed, "PRECONDITION_FAILED - unknown delivery tag 7"), broker.ErrInvalid, true},
		{reply(amqp.PreconditionFailed, "PRECONDITION_FAILED - message size 20 is larger than configured max size 10"), broker.ErrTooLarge, false},
		{reply(amqp.FrameError, ""), broker.ErrDisconnected, false},
		{reply(amqp.SyntaxError, ""), broker.ErrInvalid, true},
		{reply(amqp.CommandInvalid, ""), broker.ErrDisconnected, false},
		{reply(amqp.ChannelError, ""), broker.ErrDisconnected, false},
		{reply(amqp.UnexpectedFrame, ""), broker.ErrDisconnected, false},
		{reply(amqp.ResourceError, ""), broker.ErrDisconnected, false},
		{reply(amqp.NotAllowed, "NOT_ALLOWED - vhost nope not found"), broker.ErrAccessDenied, true},
		{reply(amqp.NotAllowed, "NOT_ALLOWED - access to vhost 'v' refused for user 'u': connection limit (1) is reached"), broker.ErrDisconnected, false},
		{reply(amqp.NotImplemented, ""), broker.ErrUnsupported, true},
		{reply(amqp.InternalError, ""), broker.ErrDisconnected, false},
		{reply(999, ""), broker.ErrDisconnected, false},
		{amqp.ErrClosed, broker.ErrDisconnected, false},
		{fmt.Errorf("around it: %w", reply(amqp.NotFound, "")), broker.ErrNotFound, true},
		{io.EOF, broker.ErrDisconnected, false},
		{syscall.ECONNREFUSED, broker.ErrDisconnected, false},
		{&net.DNSError{Err: "no such host", Name: "h", IsNotFound: true}, broker.ErrDisconnected, false},
		{context.DeadlineExceeded, broker.ErrDisconnected, false},
		{context.Canceled, broker.ErrDisconnected, false},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, broker.ErrAccessDenied, true},
		{x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}, broker.ErrAccessDenied, true},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, broker.ErrAccessDenied, true},
		{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, broker.ErrInvalid, true},
		{errors.New("something else"), broker.ErrDisconnected, false},
	} {
		got := classify(c.err)
		if !errors.Is(got, c.want) || !errors.Is(got, c.err) {
			t.Errorf("%v is classified as %v, want %v with the cause reachable", c.err, got, c.want)
		}
		for _, other := range categories {
			if other != c.want && errors.Is(got, other) {
				t.Errorf("%v matches %v too", got, other)
			}
		}
		if final(got) != c.final {
			t.Errorf("%v: final is %v", got, final(got))
		}
		if classify(got) != got {
			t.Errorf("%v is classified twice", got)
		}
		if errors.Is(c.want, broker.ErrDisconnected) && failure.Classify(got) != failure.Classify(c.want) {
			t.Errorf("package failure has class %v for %v", failure.Classify(got), got)
		}
	}
	if classify(nil) != nil {
		t.Error("no error is classified")
	}
}

// An error tells whose words it quotes, and has no syntax of Go around them.
func TestRepliesReadWell(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"not found: the server says: NOT_FOUND - no queue 'q' in vhost '/' (AMQP 404)":            &amqp.Error{Code: 404, Reason: "NOT_FOUND - no queue 'q' in vhost '/'", Server: true},
		"disconnected: the client says: channel/connection is not open (AMQP 504)":                amqp.ErrClosed,
		"disconnected: no answer in time: context deadline exceeded":                              context.DeadlineExceeded,
		"disconnected: dial tcp: lookup h: no such host":                                          &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "h"}},
		"access denied: tls: failed to verify certificate: x509: certificate signed by unknown a": &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}},
	} {
		if got := classify(err).Error(); !strings.HasPrefix(got, want) {
			t.Errorf("reads %q, want %q", got, want)
		}
	}
}

// A mismatch shows what is asked for beside what the server has, even if the
// server answers in words that are not known, and what can be done.
func TestMismatchShowsBothSides(t *testing.T) {
	t.Parallel()
	for reason, says := range map[string][]string{
		"PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received the value '5' of type 'long' but current is the value '7' of type 'long'": {
			"x-message-ttl: these settings ask for the value '5' of type 'long', the server has the value '7' of type 'long'",
		},
		"PRECONDITION_FAILED - inequivalent arg 'x-overflow' for queue 'q' in vhost '/': received none but current is the value 'a\nb'": {
			"x-overflow: these settings ask for none, the server has the value 'a\nb'",
		},
		// as 3.10.8 and 4.0.5 answer
		"PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'q' in vhost '/': received '100' but current is '20'": {
			"x-delivery-limit: these settings ask for '100', the server has '20'",
		},
		"PRECONDITION_FAILED - something new": {"the server says: PRECONDITION_FAILED - something new (AMQP 406)"},
	} {
		err := error(newMismatch("queue", "q", "durable, x-message-ttl: 5", &amqp.Error{Code: 406, Reason: reason, Server: true}))
		for _, text := range append(says, `queue "q" exists`, "durable, x-message-ttl: 5", "delete the queue", "another name", "topology: none") {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%v\ndoes not say %q", err, text)
			}
		}
		reply, ok := errors.AsType[*amqp.Error](err)
		if !ok || reply.Code != 406 || !errors.Is(err, broker.ErrInvalid) || !final(err) {
			t.Errorf("%v: reply %v", err, reply)
		}
	}
}
