package rabbit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/failure"
)

// dialer connects to one of several addresses. It is safe for concurrent use.
type dialer struct {
	settings  Settings // with defaults
	target    target
	addresses []string
	good      atomic.Int32 // index of the address that worked last
}

// newDialer returns a dialer. The settings have been validated.
func newDialer(s *Settings) (*dialer, error) {
	t, problem := parseURL(s.URL.Reveal())
	if problem != "" {
		return nil, &broker.FieldError{Field: "URL", Problem: problem}
	}
	if t.vhost == "" {
		t.vhost = s.VHost
	}
	orElse(&t.vhost, "/")
	return &dialer{
		settings:  s.withDefaults(),
		target:    t,
		addresses: append([]string{t.address}, s.Addresses...),
	}, nil
}

// dial connects to the first address that lets it, beginning with the one that
// worked last, and reads passwords and certificates anew. role ends the name
// under which the server lists the connection. ctx bounds the whole; each address
// has DialTimeout.
//
// The error has a category. It is a final one (see final) only if it is that at
// every address: where one node of a cluster is away, another refuses TLS because
// it is being set up, there is hope. But an answer of the server about the
// credentials or the vhost is the whole cluster's, and ends the search.
func (d *dialer) dial(ctx context.Context, role string) (*amqp.Connection, *conn, error) {
	sasl, err := d.sasl()
	if err != nil {
		return nil, nil, fmt.Errorf("rabbitmq: connect: %w", err)
	}
	first := int(d.good.Load())
	e := &dialError{vhost: d.target.vhost}
	for i := range d.addresses {
		at := (first + i) % len(d.addresses)
		c, network, err := d.open(ctx, d.addresses[at], role, sasl)
		if err == nil {
			d.good.Store(int32(at))
			return c, network, nil
		}
		e.failed = append(e.failed, dialFailure{d.addresses[at], err})
		if ctx.Err() != nil || refused(err) {
			break
		}
	}
	return nil, nil, e
}

// refused says whether the server refused the login: not TLS, which knows no
// users, and nothing that is no server of ours.
func refused(err error) bool {
	_, answered := failure.Find[*amqp.Error](err)
	return answered && errors.Is(err, broker.ErrAccessDenied)
}

// open connects to one address. Its errors have categories.
func (d *dialer) open(ctx context.Context, address, role string, sasl []amqp.Authentication) (*amqp.Connection, *conn, error) {
	config, err := d.tlsConfig(address)
	if err != nil {
		return nil, nil, err
	}
	bounded, cancel := context.WithTimeoutCause(ctx, d.settings.DialTimeout, errDialTimeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(bounded, "tcp", address)
	if err != nil {
		return nil, nil, d.explain(bounded, nil, err)
	}
	l := newLine(raw)
	if config != nil {
		secure := tls.Client(raw, config)
		if err := secure.HandshakeContext(bounded); err != nil {
			_ = raw.Close()
			return nil, nil, d.explain(bounded, nil, fmt.Errorf("TLS handshake: %w", err))
		}
		l.Conn = secure
	}
	network := newConn(l, d.settings.WriteTimeout)
	// The client's handshake knows no context, and a server that says nothing would
	// keep it waiting for ever.
	stop := context.AfterFunc(bounded, network.abort)
	c, err := amqp.Open(network, d.config(role, sasl))
	if !stop() && err == nil {
		err = context.Cause(bounded) // the network was aborted in the last moment
	}
	if err != nil {
		network.abort()
		return nil, nil, d.explain(bounded, l, err)
	}
	l.opened()
	return c, network, nil
}

// silentClose tells a wrong password from a server that went away during the
// login. The client does not announce that it understands a refusal, so servers
// from 3.10 to 4.x wait for 3 s, against guessing, and hang up without a word; a
// server or a network that ends does so at once.
const silentClose = 2 * time.Second

// errDialTimeout is the cause of a context that DialTimeout ended.
var errDialTimeout = errors.New("dial timeout")

func (d *dialer) config(role string, sasl []amqp.Authentication) amqp.Config {
	return amqp.Config{
		SASL:      sasl,
		Vhost:     d.target.vhost,
		Heartbeat: d.settings.Heartbeat,
		Locale:    "en_US",
		FrameSize: 128 << 10, // the server's own; Open, unlike DialConfig, takes 0 for no bound
		Properties: amqp.Table{
			"product":         "anyqueue",
			"platform":        "Go",
			"connection_name": strings.TrimSpace(d.settings.ConnectionName + " " + role),
		},
	}
}

// explain finds out why an address could not be opened, in terms of what somebody
// can change, and gives the category. l is nil before AMQP began.
func (d *dialer) explain(ctx context.Context, l *line, err error) error {
	var first []byte
	var read error
	if l != nil {
		first, read = l.seen()
	}
	is := func(category error, format string, args ...any) error {
		return &explained{text: fmt.Sprintf(format, args...), causes: []error{category, err}}
	}
	reply, _ := failure.Find[*amqp.Error](err)
	switch cause := context.Cause(ctx); {
	case reply != nil && reply.Server:
		if reply.Code == amqp.NotAllowed || reply.Code == amqp.AccessRefused {
			return is(classOf(err), "%s; create the vhost or give the user its permissions there, or correct url, vhost, username", describe(reply))
		}
		return is(classOf(err), "%s", describe(reply))
	case ctx.Err() != nil && !errors.Is(cause, errDialTimeout):
		return is(broker.ErrDisconnected, "given up: %s", cause)
	case len(first) > 1 && first[0] == 0x15 && first[1] == 3 && !d.target.tls: // an alert of TLS
		return is(broker.ErrInvalid, "the server speaks TLS on this port; write amqps://, or name the port without TLS (usually 5672)")
	case len(first) > 0 && first[0] != 1: // no method frame, with which every server of AMQP 0-9-1 begins
		return is(broker.ErrInvalid, "what answers there does not speak AMQP 0-9-1 (it begins with %q); name the server's AMQP port (usually 5672, with TLS 5671)", first)
	case ctx.Err() != nil || isTimeout(err) || isTimeout(read):
		if len(first) > 0 {
			return is(broker.ErrDisconnected, "the server did not finish the login within %s (dial_timeout); is it overloaded? A wrong password it answers only after 3s", d.settings.DialTimeout)
		}
		return is(broker.ErrDisconnected, "nothing was heard within %s (dial_timeout); is the server overloaded, does a firewall drop packets, or does the port await TLS?", d.settings.DialTimeout)
	case errors.Is(err, amqp.ErrSASL):
		return is(broker.ErrAccessDenied, "the server does not offer auth: %s; for external enable its plugin rabbitmq_auth_mechanism_ssl", d.settings.Auth)
	case errors.Is(err, amqp.ErrCredentials) && l.silence() > silentClose:
		return is(broker.ErrAccessDenied, "the server ended the connection at login, as it does when user or password are wrong or the user may not come from this machine (guest)")
	}
	if l != nil && read != nil {
		// The client keeps the text of what ended a read, not the error, and takes
		// whatever ends a login for a wrong password.
		err = read
		if errors.Is(read, io.EOF) {
			err = fmt.Errorf("the server closed the connection during the handshake: %w", read)
		}
	}
	if _, noTLS := failure.Find[tls.RecordHeaderError](err); noTLS {
		return is(broker.ErrInvalid, "the server speaks no TLS on this port; write amqp://, or name the port with TLS (usually 5671)")
	}
	switch category := classOf(err); {
	case isAlert(err):
		return is(category, "the server refuses this client's TLS: %s; does it want a certificate (tls.cert_file), and from an authority that it trusts?", err)
	case errors.Is(category, broker.ErrAccessDenied):
		return is(category, "the server's certificate is not accepted: %s; set tls.ca_file to the authority that signed it, and tls.server_name to a name that it holds", err)
	default:
		return is(category, "%s", describe(err))
	}
}

func isTimeout(err error) bool {
	t, ok := failure.Find[net.Error](err)
	return ok && t.Timeout()
}

// explained is an error with a text of ours, its category and its cause.
type explained struct {
	text   string
	causes []error
}

func (e *explained) Error() string   { return e.text }
func (e *explained) Unwrap() []error { return e.causes }

// dialFailure is why one address was not taken.
type dialFailure struct {
	address string
	err     error
}

// dialError is why no address was.
type dialError struct {
	vhost  string
	failed []dialFailure
}

func (e *dialError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "rabbitmq: connect to vhost %q: %s", e.vhost, e.category())
	for _, f := range e.failed {
		fmt.Fprintf(&b, "; %s: %s", f.address, f.err)
	}
	return b.String()
}

// category is the final one of the last address if all have one.
func (e *dialError) category() error {
	last := e.failed[len(e.failed)-1].err
	if refused(last) {
		return broker.ErrAccessDenied
	}
	for _, f := range e.failed {
		if !final(f.err) {
			return broker.ErrDisconnected
		}
	}
	return categoryOf(last)
}

// Unwrap returns the category and the causes without theirs: where one address
// was away and another refused, the whole is no refusal.
func (e *dialError) Unwrap() []error {
	errs := []error{e.category()}
	for _, f := range e.failed {
		if known, ok := f.err.(*explained); ok { //nolint:errorlint // as open made it
			errs = append(errs, known.causes[1:]...)
		} else if final(errs[0]) {
			errs = append(errs, f.err)
		}
	}
	return errs
}

// line is the connection below the client's, with or without TLS. It remembers
// how the handshake began and ended: the client keeps neither.
type line struct {
	net.Conn
	raw   net.Conn
	done  atomic.Bool   // nothing is remembered any more
	ended chan struct{} // closed when reading has ended during the handshake

	mu    sync.Mutex
	first []byte        // the first bytes that were read, at most 8
	heard time.Time     // when something was last read
	quiet time.Duration // how long nothing had been read when reading ended
	err   error         // what ended reading
}

func newLine(raw net.Conn) *line {
	return &line{Conn: raw, raw: raw, ended: make(chan struct{}), heard: time.Now()}
}

func (l *line) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if !l.done.Load() {
		l.note(b[:n], err)
	}
	return n, err
}

func (l *line) note(b []byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	now := time.Now()
	l.first = append(l.first, b[:min(len(b), 8-len(l.first))]...)
	if err != nil {
		l.err, l.quiet = err, now.Sub(l.heard)
		close(l.ended)
	}
	if len(b) > 0 {
		l.heard = now
	}
}

// lastWords is how long a failed write waits for what the peer said before it
// went.
const lastWords = 250 * time.Millisecond

// Write keeps an error of the handshake back until the reader has read to the
// end. In TLS 1.3 a server that does not accept the client's certificate says so
// when the client has finished its part and writes already; the error of that
// write closes the connection, and the reason would be lost with it.
func (l *line) Write(b []byte) (int, error) {
	n, err := l.Conn.Write(b)
	if err != nil && !l.done.Load() {
		timer := time.NewTimer(lastWords)
		defer timer.Stop()
		select {
		case <-l.ended:
		case <-timer.C:
		}
	}
	return n, err
}

func (l *line) opened() { l.done.Store(true) }

// seen returns how the handshake began and what ended reading, if anything did.
func (l *line) seen() (first []byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first, l.err
}

// silence returns for how long the peer had been silent when it hung up.
func (l *line) silence() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.quiet
}

// Close closes the socket without the farewell of TLS, for which a peer that does
// not read would be waited for 5 s. AMQP has said its own by then.
func (l *line) Close() error { return l.raw.Close() }
