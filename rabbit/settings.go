package rabbit

import (
	"log/slog"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// Defaults of [Settings].
const (
	// DefaultHeartbeat is how often both sides show that they live.
	DefaultHeartbeat = 10 * time.Second
	// DefaultDialTimeout bounds the connecting to one address.
	DefaultDialTimeout = 5 * time.Second
	// DefaultConnectTimeout bounds the first connection in all.
	DefaultConnectTimeout = 30 * time.Second
	// DefaultWriteTimeout bounds one write to the network.
	DefaultWriteTimeout = 10 * time.Second
	// DefaultConnectionName begins the names of connections.
	DefaultConnectionName = "anyqueue"
	// DefaultDeliveryLimit is the server's own limit of deliveries per message.
	DefaultDeliveryLimit = 100
	// DefaultAckTimeout is consumer_timeout of an untouched server.
	DefaultAckTimeout = 30 * time.Minute
	// DefaultMaxMessageBytes is max_message_size of an untouched server 4.x.
	DefaultMaxMessageBytes = 16 << 20

	// MaxDelay is the longest that a delay queue can hold a message: 10 years of 365
	// days. Servers from 3.10 to 4.x refuse a larger x-message-ttl.
	MaxDelay = 3650 * 24 * time.Hour
)

// Auth is how a connection authenticates itself.
type Auth string

// The ways to authenticate.
const (
	// AuthPlain sends a user name and a password.
	AuthPlain Auth = "plain"
	// AuthExternal takes the user from the client's certificate. The server needs
	// the plugin rabbitmq_auth_mechanism_ssl.
	AuthExternal Auth = "external"
)

// QueueType is the kind of a queue.
type QueueType string

// The kinds of queues.
const (
	// Quorum is a replicated queue, which counts deliveries and moves dead letters
	// safely.
	Quorum QueueType = "quorum"
	// Classic is a queue on one node. It counts no deliveries, so that a message
	// that crashes its worker comes back for ever, and what it moves to another
	// queue by itself (an expired delay) is lost when that queue is not there.
	Classic QueueType = "classic"
)

// Topology says what is done about queues, exchanges and bindings.
type Topology string

// The modes of [Settings].Topology.
const (
	// TopologyDeclare makes what is missing, and fails with a [*MismatchError]
	// where something exists with other arguments. The user needs the permission to
	// configure the queues, to read them, and to write to amq.default.
	TopologyDeclare Topology = "declare"
	// TopologyVerify makes nothing. What is missing is [broker.ErrNotFound], what
	// exists with other arguments a [*MismatchError]. The server compares
	// arguments only for a user that may configure the queue, so the permissions
	// are those of TopologyDeclare. Bindings cannot be seen over AMQP; of them only
	// the exchanges are verified.
	TopologyVerify Topology = "verify"
	// TopologyNone touches nothing and asks nothing: the queues are the work of
	// somebody else, who knows what this package counts on. What is missing then
	// shows when it is used.
	TopologyNone Topology = "none"
)

// ExchangeType is the kind of an exchange.
type ExchangeType string

// The kinds of exchanges.
const (
	Direct  ExchangeType = "direct"
	Topic   ExchangeType = "topic"
	Fanout  ExchangeType = "fanout"
	Headers ExchangeType = "headers"
)

// Match says how many of a binding's headers a message must have.
type Match string

// The ways to match headers.
const (
	MatchAll Match = "all"
	MatchAny Match = "any"
)

// Settings is the section `rabbitmq:` of a configuration file. URL is required;
// every other zero value means the default that its comment states.
type Settings struct {
	// URL is where the server is: amqp://user:password@host:port/vhost, or amqps://
	// for TLS. Everything but the scheme may be left out: the user and the password
	// are guest (whom a server accepts only from its own machine), the host is
	// localhost, the port 5672 or with TLS 5671, the vhost "/". In a user name, a
	// password and a vhost the characters / : @ ? # % and space are written
	// percent-encoded ("/" is %2F). Parameters after a ? are refused: each has a
	// setting here.
	URL broker.Secret `yaml:"url" required:"true" doc:"Address of the server: amqp://user:password@host:port/vhost, or amqps:// for TLS."`
	// Addresses are further nodes of the same cluster, host:port each, tried in
	// turn after that of URL, with the same scheme, vhost and credentials. A
	// reconnect begins with the address that worked last.
	Addresses []string `yaml:"addresses" doc:"Further nodes of the same cluster, host:port each, tried in turn after that of url."`
	// VHost is the virtual host, if URL names none. Default "/".
	VHost string `yaml:"vhost" default:"that of url, else /" doc:"The virtual host."`
	// Username and Password are the credentials, if URL holds none. Default guest
	// and guest.
	Username string        `yaml:"username" default:"that of url, else guest" doc:"The user."`
	Password broker.Secret `yaml:"password" default:"that of url, else guest" doc:"The user's password."`
	// PasswordFile is a file that holds the password, in place of Password. It is
	// read at every connect, so that a password that was changed is picked up
	// without a restart; a line break at its end is not part of the password. A
	// relative path is relative to the working directory of the process.
	PasswordFile string `yaml:"password_file" doc:"File with the password, read at every connect, so that a changed one is picked up."`
	// Auth is how the connection authenticates itself. Default AuthPlain.
	Auth Auth `yaml:"auth" enum:"plain,external" default:"plain" doc:"plain: user and password; external: the client's certificate, which needs the server's plugin rabbitmq_auth_mechanism_ssl."`
	// TLS is for amqps://. Its zero value trusts the system's authorities and shows
	// no certificate.
	TLS TLS `yaml:"tls" doc:"Certificates, for amqps://."`

	// Heartbeat is how often each side shows that it lives, in whole seconds; the
	// smaller of this and the server's own (60 s) counts. Default 10 s; at least
	// 1 s, at most 65535 s. A server that was silent for half as long again is
	// given up (the client shows itself twice as often); it gives up a client after
	// twice as long. Too short, and a pause of the network or of a busy process ends the
	// connection and gives every message back; too long, and a half-open connection
	// goes unnoticed.
	Heartbeat time.Duration `yaml:"heartbeat" default:"10s" doc:"How often each side shows that it lives, in whole seconds; a server silent for half as long again is given up."`
	// DialTimeout bounds the connecting to one address, the handshakes of TLS and
	// AMQP included. Default 5 s; at least 100 ms. A server answers a wrong password only after 3 s
	// (against guessing), so with less that shows as a timeout.
	DialTimeout time.Duration `yaml:"dial_timeout" default:"5s" doc:"The longest that connecting to one address takes, handshakes included; below 4s a wrong password shows as a timeout."`
	// ConnectTimeout bounds the first connection in all, every address and retry
	// included; then opening fails with the last cause. Default 30 s; at least
	// DialTimeout. A connection that is lost later is tried again for ever.
	ConnectTimeout time.Duration `yaml:"connect_timeout" default:"30s" doc:"How long opening the queue keeps trying to connect; a connection that is lost later is tried again for ever."`
	// WriteTimeout bounds one write to the network. A peer that takes nothing for
	// that long is given up, and the connection with it. Default 10 s; at least
	// 100 ms. A server under an alarm of memory or disk takes nothing from
	// publishers for as long as the alarm lasts: the publishing connection is then
	// made anew every so often, which loses nothing.
	WriteTimeout time.Duration `yaml:"write_timeout" default:"10s" doc:"The longest that one write to the network takes before the connection is given up."`
	// ConnectionName begins the name under which the server lists the connections,
	// for the person who looks there. Default "anyqueue".
	ConnectionName string `yaml:"connection_name" default:"anyqueue" doc:"Begins the name under which the server lists the connections."`

	// Prefetch is how many messages the server hands out before they are
	// acknowledged: 1 to 65535 (16 bits on the wire). Default 0: chosen from the
	// consumer's concurrency and its most messages in flight. Messages beyond what
	// the handlers take wait in this process, and no other worker can have them.
	Prefetch int `yaml:"prefetch" min:"0" max:"65535" doc:"How many messages the server hands out before they are acknowledged. 0: chosen from the consumer's concurrency."`
	// AckTimeout is the server's consumer_timeout: how long it waits for the
	// acknowledgement of a message before it closes the channel and gives all of
	// its messages to others. It cannot be asked for, so it is told here, and a
	// handler is cancelled before it. Default 30 min, that of an untouched server;
	// negative: the server has none. A value above the server's own lets it take
	// messages away from handlers that are still at work.
	AckTimeout time.Duration `yaml:"ack_timeout" default:"30m" negative:"the server has none" doc:"The server's own consumer_timeout, which this must not exceed; a handler is cancelled before it."`
	// MaxMessageBytes is the largest body that the server takes: its
	// max_message_size, which cannot be asked for. A larger message is refused with
	// [broker.ErrTooLarge] before it is sent, because the server would answer by
	// closing the channel. Default 16 MiB, that of an untouched server 4.x (3.x:
	// 128 MiB); at most 512 MiB, the server's own bound.
	MaxMessageBytes int `yaml:"max_message_bytes" default:"16MiB" min:"1" max:"536870912" doc:"The largest body that is published; the server's own max_message_size must not be less."`

	// Topology says what is done about queues, exchanges and bindings. Default
	// TopologyDeclare.
	Topology Topology `yaml:"topology" enum:"declare,verify,none" default:"declare" doc:"declare: make what is missing; verify: make nothing, but fail where something is missing or different; none: touch nothing."`
	// QueueType is the kind of all queues that are declared. Default Quorum.
	QueueType QueueType `yaml:"queue_type" enum:"quorum,classic" default:"quorum" doc:"The kind of the queues."`
	// DeadLetter names the dead-letter queue. Default: the queue's name with .dlq
	// appended.
	DeadLetter string `yaml:"dead_letter" doc:"Name of the dead-letter queue. Default: the queue's name with .dlq appended."`
	// DeliveryLimit is x-delivery-limit of a quorum queue: how often the server
	// lets a message come back without a settlement before it moves it to the
	// dead-letter queue by itself. Default 100. It is a net below the consumer's own limits
	// and must exceed its MaxAttempts and MaxAbandoned together. It is an argument
	// of the queue: another value needs another queue. (Undeclared it would be 20 on
	// servers 4.x and none before; and -1, which means none on 4.x, makes 3.10 drop
	// a message when it first comes back. So it is declared always.)
	DeliveryLimit int `yaml:"delivery_limit" default:"100" min:"1" max:"1000000" doc:"How often a message of a quorum queue comes back before the server itself dead-letters it; above retry.max_attempts and max_abandoned together."`
	// Delays are the delays of retries through the server, one delay queue for
	// each; a retry takes the smallest that is not shorter than what it asked for.
	// Each at least 1 ms, at most [MaxDelay], rising. Default: those of the
	// consumer's backoff, of which one that lies within a quarter of the next is
	// served by that next one. With an ordered consumer there are none: it holds.
	Delays []time.Duration `yaml:"delays" doc:"The delays of retries through the server, rising; one delay queue each. Default: those of the consumer's backoff."`
	// MaxMessages and MaxBytes bound what waits in the queue (x-max-length,
	// x-max-length-bytes, bodies only). A publish beyond them fails with
	// [broker.ErrFull]; on a quorum queue a few may pass. 0, the default: no limit.
	MaxMessages int `yaml:"max_messages" min:"0" doc:"The most messages that wait in the queue. 0: no limit."`
	MaxBytes    int `yaml:"max_bytes" min:"0" doc:"The most bytes of bodies that wait in the queue. 0: no limit."`
	// QuorumGroupSize is how many nodes keep a copy of a quorum queue
	// (x-quorum-initial-group-size). 0, the default: the server's choice, 3 or as
	// many nodes as there are. An even number bears no more failures than the odd
	// one below it.
	QuorumGroupSize int `yaml:"quorum_group_size" min:"0" max:"99" doc:"How many nodes keep a copy of a quorum queue. 0: the server's choice."`
	// Bindings are the exchanges that feed the queue. Each exchange is declared
	// (durable) and bound. A binding that is taken out here stays on the server
	// until somebody unbinds it there.
	Bindings []Binding `yaml:"bindings" doc:"The exchanges that feed the queue."`

	// Logger is told when a connection is lost and made again. Default:
	// slog.Default().
	Logger *slog.Logger `yaml:"-"`
}

// TLS is the part of [Settings] for amqps://. The files are in PEM, and read at
// every connect, so that a certificate that was renewed is picked up. Relative
// paths are relative to the working directory of the process.
type TLS struct {
	// CAFile holds the certificates of the authorities that the server's may come
	// from. Default: those of the system.
	CAFile string `yaml:"ca_file" doc:"PEM file of the authorities to trust. Default: those of the system."`
	// CertFile and KeyFile hold the certificate that is shown to the server, with
	// its chain, and its key. Default: none is shown. Give both or none.
	CertFile string `yaml:"cert_file" doc:"PEM file of the client's certificate."`
	KeyFile  string `yaml:"key_file" doc:"PEM file of the key of the client's certificate."`
	// ServerName is the name that the server's certificate must hold. Default: the
	// host of the address that is dialled.
	ServerName string `yaml:"server_name" doc:"The name that the server's certificate must hold. Default: the host that is dialled."`
}

// Binding is one exchange that feeds the queue.
type Binding struct {
	// Exchange is its name. The exchanges that every server has (amq.topic, ...) can
	// be named; the default exchange needs no binding.
	Exchange string `yaml:"exchange" required:"true" doc:"Name of the exchange."`
	// Type is its kind. Left empty, the exchange must exist, whatever it is, and
	// is only bound: for one that belongs to somebody else.
	Type ExchangeType `yaml:"type" enum:"direct,topic,fanout,headers" doc:"Kind of the exchange. Left out, the exchange must exist and is only bound."`
	// RoutingKeys are bound one by one: for direct the keys, for topic patterns in
	// which * is one word and # any number of them. Fanout and headers take none.
	RoutingKeys []string `yaml:"routing_keys" doc:"Keys (direct) or patterns with * and # (topic)."`
	// Headers are what a message must have, for an exchange of type headers.
	// Numbers and booleans of other publishers do not equal these texts. Names that
	// begin with x- are refused: the server skips them when it matches.
	Headers map[string]string `yaml:"headers" doc:"Headers and their values, for an exchange of type headers."`
	// Match says whether all or any of Headers must be there. Default MatchAll.
	Match Match `yaml:"match" enum:"all,any" default:"all" doc:"Whether all or any of the headers must be there."`
}

// withDefaults returns the settings with every default filled in but those that
// depend on the queue or on URL.
func (s Settings) withDefaults() Settings {
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
	orElse(&s.Auth, AuthPlain)
	orElse(&s.Heartbeat, DefaultHeartbeat)
	orElse(&s.DialTimeout, DefaultDialTimeout)
	orElse(&s.ConnectTimeout, max(DefaultConnectTimeout, s.DialTimeout))
	orElse(&s.WriteTimeout, DefaultWriteTimeout)
	orElse(&s.ConnectionName, DefaultConnectionName)
	orElse(&s.AckTimeout, DefaultAckTimeout)
	orElse(&s.MaxMessageBytes, DefaultMaxMessageBytes)
	orElse(&s.Topology, TopologyDeclare)
	orElse(&s.QueueType, Quorum)
	orElse(&s.DeliveryLimit, DefaultDeliveryLimit)
	return s
}

func orElse[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}
