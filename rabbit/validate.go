package rabbit

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// Bounds of [Settings] that the protocol or the server sets.
const (
	maxName         = 255       // bytes of a short string: names of queues and exchanges, keys, vhosts
	maxPrefetch     = 1<<16 - 1 // basic.qos has 16 bits; the client cuts off the rest
	maxHeartbeat    = (1<<16 - 1) * time.Second
	maxMessageBytes = 512 << 20 // the server refuses a larger max_message_size
	maxDelays       = 100       // a delay queue costs the server a Raft group
	maxLimit        = 1_000_000 // of deliveries; that of the dead-letter queue
	minTimeout      = 100 * time.Millisecond
)

// faults collects what is wrong, so that all of it is said at once.
type faults []error

func (f *faults) add(field string, value any, format string, args ...any) {
	*f = append(*f, &broker.FieldError{Field: field, Value: value, Problem: fmt.Sprintf(format, args...)})
}

func (f faults) err() error { return errors.Join(f...) }

// Validate reports every fault at once, as joined [*broker.FieldError]. It looks
// at no file and asks no server.
func (s *Settings) Validate() error {
	var f faults
	t := f.target(s)
	f.credentials(s, t)
	f.timing(s)
	f.queues(s)
	for i, d := range s.Delays {
		f.delay(s, i, d)
	}
	for i := range s.Bindings {
		f.binding(fmt.Sprintf("Bindings[%d]", i), &s.Bindings[i])
	}
	return f.err()
}

// target is what URL says.
type target struct {
	tls         bool
	address     string
	vhost       string // "" where the URL names none
	user        string
	password    broker.Secret
	hasUser     bool
	hasPassword bool
}

// parseURL returns what a URL says, or what is wrong with it: a text that quotes
// nothing of it, because any part can be a piece of a password that was not
// encoded.
func parseURL(text string) (target, string) {
	if text == "" {
		return target{}, "is missing; give the address of the server: amqp://user:password@host:port/vhost"
	}
	u, err := url.Parse(text)
	if err != nil {
		return target{}, "is no URL; write amqp://user:password@host:port/vhost, with the characters / : @ ? # % and space in a user name, password or vhost percent-encoded"
	}
	t := target{tls: u.Scheme == "amqps"}
	switch {
	case u.Scheme != "amqp" && u.Scheme != "amqps":
		return t, "must begin with amqp:// or, for TLS, amqps://"
	case u.Opaque != "":
		return t, "must have // after the scheme"
	case u.RawQuery != "" || u.ForceQuery:
		return t, "must have no parameters after a ?; use the settings heartbeat, dial_timeout, auth and tls, and write a ? that belongs to the password as %3F"
	case u.Fragment != "":
		return t, "must have no # part; write a # that belongs to the password as %23"
	}
	host, port := u.Hostname(), u.Port()
	if host == "" {
		host = "localhost"
	}
	if port == "" {
		port = "5672"
		if t.tls {
			port = "5671"
		}
	}
	t.address = net.JoinHostPort(host, port)
	if problem := checkAddress(t.address); problem != "" {
		return t, problem
	}
	t.vhost = strings.TrimPrefix(u.Path, "/")
	if u.User != nil {
		t.user, t.hasUser = u.User.Username(), u.User.Username() != ""
		var password string
		password, t.hasPassword = u.User.Password()
		t.password = broker.NewSecret(password)
	}
	return t, ""
}

// checkAddress returns what is wrong with host:port.
func checkAddress(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || strings.ContainsAny(address, "/@ ") {
		return "is no host and port; write host:port, and an IPv6 address in brackets"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "has no port between 1 and 65535"
	}
	return ""
}

func (f *faults) target(s *Settings) target {
	t, problem := parseURL(s.URL.Reveal())
	if problem != "" {
		f.add("URL", nil, "%s", problem)
	}
	for i, address := range s.Addresses {
		field := fmt.Sprintf("Addresses[%d]", i)
		if strings.Contains(address, "@") {
			f.add(field, nil, "must hold no credentials; those of url are used for every address") // not quoted: they may be in it
		} else if problem := checkAddress(address); problem != "" {
			f.add(field, address, "%s", problem)
		}
	}
	if s.VHost != "" && t.vhost != "" && s.VHost != t.vhost {
		f.add("VHost", s.VHost, "contradicts the URL, which names the vhost %q; give it in one place", t.vhost)
	}
	if len(s.VHost) > maxName || len(t.vhost) > maxName {
		f.add("VHost", nil, "is longer than %d bytes", maxName)
	}
	return t
}

func (f *faults) credentials(s *Settings, t target) {
	isTLS := t.tls
	if s.Auth != "" && s.Auth != AuthPlain && s.Auth != AuthExternal {
		f.add("Auth", s.Auth, "must be plain or external")
	}
	if s.Username != "" && t.hasUser {
		f.add("Username", s.Username, "is given in the URL too; give it in one place")
	}
	passwords := 0
	for _, given := range []bool{t.hasPassword, !s.Password.IsZero(), s.PasswordFile != ""} {
		if given {
			passwords++
		}
	}
	if passwords > 1 {
		field := "Password"
		if s.PasswordFile != "" {
			field = "PasswordFile"
		}
		f.add(field, nil, "is not the only place of a password; give it in one of url, password and password_file")
	}
	if passwords > 0 && !t.hasUser && s.Username == "" {
		f.add("Username", nil, "is missing, and there is a password; name the user")
	}
	if passwords == 0 && (t.hasUser || s.Username != "") && s.Auth != AuthExternal {
		f.add("Password", nil, "is missing, and there is a user; give it here, in password_file or in url")
	}
	if s.Auth == AuthExternal {
		switch {
		case passwords > 0 || t.hasUser || s.Username != "":
			f.add("Auth", s.Auth, "takes the user from the certificate; remove user name and password, from the URL too")
		case !isTLS || s.TLS.CertFile == "":
			f.add("Auth", s.Auth, "needs amqps:// and a certificate in tls.cert_file")
		}
	}
	if s.TLS != (TLS{}) && !isTLS && t.address != "" {
		f.add("TLS", nil, "is set, but the URL begins with amqp://; write amqps://, or remove the section")
	}
	if (s.TLS.CertFile == "") != (s.TLS.KeyFile == "") {
		field := "TLS.KeyFile"
		if s.TLS.CertFile == "" {
			field = "TLS.CertFile"
		}
		f.add(field, nil, "is missing; a certificate and its key are given both or not at all")
	}
}

func (f *faults) timing(s *Settings) {
	d := s.withDefaults()
	if d.Heartbeat < time.Second || d.Heartbeat > maxHeartbeat || d.Heartbeat%time.Second != 0 {
		f.add("Heartbeat", s.Heartbeat, "must be whole seconds from 1s to %s; leave it 0 for %s", maxHeartbeat, DefaultHeartbeat)
	}
	if d.DialTimeout < minTimeout {
		f.add("DialTimeout", s.DialTimeout, "must be at least %s; leave it 0 for %s", minTimeout, DefaultDialTimeout)
	} else if d.ConnectTimeout < d.DialTimeout {
		f.add("ConnectTimeout", s.ConnectTimeout, "must be at least dial_timeout, %s; leave it 0 for %s", d.DialTimeout, DefaultConnectTimeout)
	}
	if d.WriteTimeout < minTimeout {
		f.add("WriteTimeout", s.WriteTimeout, "must be at least %s; leave it 0 for %s", minTimeout, DefaultWriteTimeout)
	}
	if d.AckTimeout > 0 && d.AckTimeout < time.Second {
		f.add("AckTimeout", s.AckTimeout, "must be at least 1s; leave it 0 for %s, or make it negative if the server has none", DefaultAckTimeout)
	}
	if len(s.ConnectionName) > maxName {
		f.add("ConnectionName", nil, "is longer than %d bytes", maxName)
	}
}

func (f *faults) queues(s *Settings) {
	d := s.withDefaults()
	switch d.Topology {
	case TopologyDeclare, TopologyVerify, TopologyNone:
	default:
		f.add("Topology", s.Topology, "must be declare, verify or none")
	}
	if d.QueueType != Quorum && d.QueueType != Classic {
		f.add("QueueType", s.QueueType, "must be quorum or classic")
	}
	classic := d.QueueType == Classic
	if s.Prefetch < 0 || s.Prefetch > maxPrefetch {
		f.add("Prefetch", s.Prefetch, "must be from 1 to %d; leave it 0 to have it chosen", maxPrefetch)
	}
	if d.MaxMessageBytes < 1 || d.MaxMessageBytes > maxMessageBytes {
		f.add("MaxMessageBytes", s.MaxMessageBytes, "must be from 1 to %d (512 MiB); leave it 0 for 16 MiB", maxMessageBytes)
	}
	switch {
	case classic && s.DeliveryLimit != 0:
		f.add("DeliveryLimit", s.DeliveryLimit, "is of quorum queues; a classic queue counts no deliveries: remove it")
	case d.DeliveryLimit < 1 || d.DeliveryLimit > maxLimit:
		f.add("DeliveryLimit", s.DeliveryLimit, "must be from 1 to %d; leave it 0 for %d", maxLimit, DefaultDeliveryLimit)
	}
	switch {
	case classic && s.QuorumGroupSize != 0:
		f.add("QuorumGroupSize", s.QuorumGroupSize, "is of quorum queues; a classic queue has no copies: remove it")
	case s.QuorumGroupSize < 0 || s.QuorumGroupSize > 99:
		f.add("QuorumGroupSize", s.QuorumGroupSize, "must be from 1 to 99; leave it 0 for the server's choice")
	}
	if s.MaxMessages < 0 {
		f.add("MaxMessages", s.MaxMessages, "must not be negative; leave it 0 for no limit")
	}
	if s.MaxBytes < 0 {
		f.add("MaxBytes", s.MaxBytes, "must not be negative; leave it 0 for no limit")
	}
	if len(s.DeadLetter) > maxName {
		f.add("DeadLetter", nil, "is longer than %d bytes, the most that a queue's name can have", maxName)
	}
	if strings.HasPrefix(s.DeadLetter, reserved) {
		f.add("DeadLetter", s.DeadLetter, "begins with %s, which the server keeps for itself; choose another name", reserved)
	}
	if len(s.Delays) > maxDelays {
		f.add("Delays", len(s.Delays), "is more than %d delays, and each is a queue; a retry takes the next longer one, so a few suffice", maxDelays)
	}
}

// reserved begins the names that only the server gives.
const reserved = "amq."

func (f *faults) delay(s *Settings, i int, d time.Duration) {
	field := fmt.Sprintf("Delays[%d]", i)
	switch {
	case d < time.Millisecond || d > MaxDelay || d%time.Millisecond != 0:
		f.add(field, d, "must be whole milliseconds from 1ms to %s", MaxDelay)
	case i > 0 && d <= s.Delays[i-1]:
		f.add(field, d, "must be longer than the one before it, %s; sort the delays and remove repeats", s.Delays[i-1])
	}
}

func (f *faults) binding(field string, b *Binding) {
	if b.Exchange == "" {
		f.add(field+".Exchange", nil, "is empty; name the exchange (the default exchange reaches every queue without a binding)")
	}
	if len(b.Exchange) > maxName {
		f.add(field+".Exchange", nil, "is longer than %d bytes", maxName)
	}
	for i, key := range b.RoutingKeys {
		at := fmt.Sprintf("%s.RoutingKeys[%d]", field, i)
		if len(key) > maxName {
			f.add(at, nil, "is longer than %d bytes", maxName)
		}
		if slices.Contains(b.RoutingKeys[:i], key) {
			f.add(at, key, "stands there twice; remove one")
		}
	}
	f.headers(field, b)
	switch b.Type {
	case "":
		if len(b.RoutingKeys) > 0 && len(b.Headers) > 0 {
			f.add(field+".Headers", nil, "and routing keys belong to different types of exchanges; give one of the two")
		}
		return
	case Direct, Topic:
		if len(b.RoutingKeys) == 0 {
			f.add(field+".RoutingKeys", nil, "is empty; a binding to a %s exchange needs at least one key", b.Type)
		}
	case Fanout, Headers:
		if len(b.RoutingKeys) > 0 {
			f.add(field+".RoutingKeys", nil, "means nothing to a %s exchange; remove it", b.Type)
		}
		if b.Type == Headers && len(b.Headers) == 0 {
			f.add(field+".Headers", nil, "is empty; say what a message must have, or use a fanout exchange for all messages")
		}
	default:
		f.add(field+".Type", b.Type, "must be direct, topic, fanout or headers, or left empty for an exchange that exists")
		return
	}
	if b.Type != Headers && len(b.Headers) > 0 {
		f.add(field+".Headers", nil, "means nothing to a %s exchange; remove it", b.Type)
	}
}

func (f *faults) headers(field string, b *Binding) {
	for name := range b.Headers {
		at := fmt.Sprintf("%s.Headers[%s]", field, name)
		switch {
		case strings.HasPrefix(name, "x-"):
			f.add(at, nil, "begins with x-, and the server skips such headers when it matches; use another header")
		case name == "" || len(name) > maxName:
			f.add(at, nil, "needs a name of 1 to %d bytes", maxName)
		}
	}
	switch {
	case b.Match != "" && b.Match != MatchAll && b.Match != MatchAny:
		f.add(field+".Match", b.Match, "must be all or any")
	case b.Match != "" && len(b.Headers) == 0:
		f.add(field+".Match", b.Match, "is about headers, and there are none; remove it")
	}
}
