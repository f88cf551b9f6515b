package rabbit

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// classify puts the category of package broker before an error of the client, of
// the network, of TLS or of a context; the error itself stays reachable with
// errors.As. An error that has a category keeps it.
func classify(err error) error {
	if err == nil || categoryOf(err) != nil {
		return err
	}
	return &categorized{category: classOf(err), cause: err}
}

// categorized is an error with its category.
type categorized struct{ category, cause error }

func (e *categorized) Error() string { return e.category.Error() + ": " + describe(e.cause) }

// Unwrap returns the category first: package failure takes the first class that
// it finds.
func (e *categorized) Unwrap() []error { return []error{e.category, e.cause} }

// categories are those of package broker that can be in an error.
var categories = []error{
	broker.ErrLeaseLost, broker.ErrClosed, broker.ErrDisconnected, broker.ErrNotFound, broker.ErrAccessDenied,
	broker.ErrTooLarge, broker.ErrFull, broker.ErrUnsupported, broker.ErrInvalid,
}

// categoryOf returns the category that an error has already, nil for none.
func categoryOf(err error) error {
	for _, category := range categories {
		if errors.Is(err, category) {
			return category
		}
	}
	return nil
}

// final says whether an error of the first connection is one that trying again
// will not mend: somebody must change the settings or the server.
func final(err error) bool {
	return failure.Is(err, broker.ErrAccessDenied) || failure.Is(err, broker.ErrNotFound) ||
		failure.Is(err, broker.ErrInvalid) || failure.Is(err, broker.ErrUnsupported)
}

// classOf returns the category of an error that has none.
func classOf(err error) error {
	if e, ok := failure.Find[*amqp.Error](err); ok {
		return classOfReply(e)
	}
	if _, ok := failure.Find[*tls.CertificateVerificationError](err); ok {
		return broker.ErrAccessDenied // the server's certificate is not trusted
	}
	if _, ok := failure.Find[x509.HostnameError](err); ok {
		return broker.ErrAccessDenied
	}
	if isAlert(err) {
		return broker.ErrAccessDenied // ours is not
	}
	if _, ok := failure.Find[tls.RecordHeaderError](err); ok {
		return broker.ErrInvalid // TLS to a port that speaks no TLS
	}
	return broker.ErrDisconnected
}

// isAlert says whether the peer refused TLS. Package crypto/tls has no type for
// it: an alert of the peer is a net.OpError with this operation.
func isAlert(err error) bool {
	op, ok := failure.Find[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// classOfReply is for what the server answered, and for what the client says in
// the same form about itself and the network (Server is then false).
func classOfReply(e *amqp.Error) error {
	switch e.Code {
	case amqp.ContentTooLarge:
		return broker.ErrTooLarge
	case amqp.NoRoute, amqp.NoConsumers, amqp.InvalidPath, amqp.NotFound:
		return broker.ErrNotFound
	case amqp.AccessRefused, amqp.ResourceLocked:
		return broker.ErrAccessDenied
	case amqp.PreconditionFailed:
		// Different arguments, an unknown delivery tag, an acknowledgement that took
		// too long, and since 3.8 a message above max_message_size: the server tells
		// them apart by text alone. Only the last matters to who gets the error.
		if strings.Contains(e.Reason, "larger than") {
			return broker.ErrTooLarge
		}
		return broker.ErrInvalid
	case amqp.SyntaxError:
		return broker.ErrInvalid
	case amqp.NotAllowed:
		// A vhost that is not there or not for this user; but the same code says that
		// the user or the vhost has as many connections as it may have, and that
		// passes when a worker that is being replaced has ended.
		if strings.Contains(e.Reason, "limit") {
			return broker.ErrDisconnected
		}
		return broker.ErrAccessDenied
	case amqp.NotImplemented:
		return broker.ErrUnsupported
	default:
		// ConnectionForced, FrameError, CommandInvalid, ChannelError, UnexpectedFrame,
		// ResourceError, InternalError: the channel or the connection is over, and a
		// new one is the way on. The client itself uses FrameError for whatever it
		// could not read, a cut connection too, and ChannelError for a closed channel.
		return broker.ErrDisconnected
	}
}

// describe returns what an error says, for a person. That of the server needs no
// quotes and no Go syntax around it.
func describe(err error) string {
	if e, ok := err.(*amqp.Error); ok { //nolint:errorlint // only the error itself is replaced, not a text around it
		by := "the client says"
		if e.Server {
			by = "the server says"
		}
		return fmt.Sprintf("%s: %s (AMQP %d)", by, e.Reason, e.Code)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time: " + err.Error()
	}
	return err.Error()
}

// MismatchError says that a queue or an exchange exists with other arguments than
// these settings ask for. The server changes none of an existing one.
type MismatchError struct {
	// Kind is "queue" or "exchange".
	Kind string
	// Name is its name.
	Name string
	// Argument is the first that differs; the server names no others. Empty if the
	// server's answer has another form than those known.
	Argument string
	// Asked and Has are what was asked for and what the server has, in the server's
	// words.
	Asked, Has string
	// Wanted is all that was asked for.
	Wanted string

	cause *amqp.Error
}

// inequivalent is the server's answer, the same from 3.10 to 4.x.
var inequivalent = regexp.MustCompile(`(?s)inequivalent arg '([^']*)' for .*: received (.*) but current is (.*)$`)

func newMismatch(kind, name, wanted string, cause *amqp.Error) *MismatchError {
	e := &MismatchError{Kind: kind, Name: name, Wanted: wanted, cause: cause}
	if m := inequivalent.FindStringSubmatch(cause.Reason); m != nil {
		e.Argument, e.Asked, e.Has = m[1], m[2], m[3]
	}
	return e
}

func (e *MismatchError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q exists with other arguments: ", e.Kind, e.Name)
	if e.Argument != "" {
		fmt.Fprintf(&b, "%s: these settings ask for %s, the server has %s", e.Argument, e.Asked, e.Has)
	} else {
		b.WriteString(describe(e.cause))
	}
	fmt.Fprintf(&b, "; asked for in all: %s. It was left as it is. Change the settings to what the server has, "+
		"choose another name, or delete the %s there once it is empty and let it be declared anew; "+
		"topology: none takes it as it is", e.Wanted, e.Kind)
	return b.String()
}

// Unwrap returns the category, [broker.ErrInvalid], and the server's own answer.
func (e *MismatchError) Unwrap() []error { return []error{broker.ErrInvalid, e.cause} }
