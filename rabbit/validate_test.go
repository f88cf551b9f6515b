package rabbit

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// fieldsOf returns the fields of joined field errors, each once, in their order.
func fieldsOf(t *testing.T, err error) []string {
	t.Helper()
	var fields []string
	var walk func(error)
	walk = func(err error) {
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range many.Unwrap() {
				walk(e)
			}
			return
		}
		e, ok := errors.AsType[*broker.FieldError](err)
		if !ok {
			t.Errorf("%v is no *broker.FieldError", err)
			return
		}
		fields = append(fields, e.Field)
	}
	if err != nil {
		walk(err)
	}
	return fields
}

// The address alone is a complete configuration, and every default is a value
// that is allowed.
func TestURLAloneIsEnough(t *testing.T) {
	t.Parallel()
	s := Settings{URL: broker.NewSecret("amqp://localhost")}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	d := s.withDefaults()
	if err := d.Validate(); err != nil {
		t.Errorf("the defaults written out are refused: %v", err)
	}
	if d.Heartbeat != 10*time.Second || d.DialTimeout != 5*time.Second || d.ConnectTimeout != 30*time.Second ||
		d.DeliveryLimit != 100 || d.QueueType != Quorum || d.Topology != TopologyDeclare || d.MaxMessageBytes != 16<<20 ||
		d.AckTimeout != 30*time.Minute || d.Auth != AuthPlain || d.Prefetch != 0 {
		t.Errorf("defaults: %+v", d)
	}
	if d.withDefaults().DeliveryLimit != d.DeliveryLimit {
		t.Error("defaults of defaults differ")
	}
}

// Each setting that cannot be is reported under its own name, and says what to do.
func TestEveryImpossibleSettingIsReported(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 256)
	for name, c := range map[string]struct {
		set   func(*Settings)
		field string
		says  string
	}{
		"no url":                     {func(s *Settings) { s.URL = broker.Secret{} }, "URL", "is missing"},
		"another scheme":             {func(s *Settings) { s.URL = broker.NewSecret("http://h") }, "URL", "amqps://"},
		"no slashes":                 {func(s *Settings) { s.URL = broker.NewSecret("amqp:h") }, "URL", "//"},
		"parameters":                 {func(s *Settings) { s.URL = broker.NewSecret("amqp://h/?heartbeat=3") }, "URL", "no parameters"},
		"fragment":                   {func(s *Settings) { s.URL = broker.NewSecret("amqp://h/v#x") }, "URL", "%23"},
		"bad port":                   {func(s *Settings) { s.URL = broker.NewSecret("amqp://h:70000/") }, "URL", "port"},
		"unencoded":                  {func(s *Settings) { s.URL = broker.NewSecret("amqp://u:p%zz@h/") }, "URL", "percent-encoded"},
		"address without port":       {func(s *Settings) { s.Addresses = []string{"h:1", "h"} }, "Addresses[1]", "host:port"},
		"address of port 0":          {func(s *Settings) { s.Addresses = []string{"h:0"} }, "Addresses[0]", "between 1 and 65535"},
		"address with credentials":   {func(s *Settings) { s.Addresses = []string{"u:p@h:1"} }, "Addresses[0]", "no credentials"},
		"two vhosts":                 {func(s *Settings) { s.URL = broker.NewSecret("amqp://h/a"); s.VHost = "b" }, "VHost", "contradicts"},
		"long vhost":                 {func(s *Settings) { s.VHost = long }, "VHost", "255"},
		"two users":                  {func(s *Settings) { s.URL = broker.NewSecret("amqp://u:p@h"); s.Username = "v" }, "Username", "one place"},
		"two passwords":              {func(s *Settings) { s.URL = broker.NewSecret("amqp://u:p@h"); s.Password = broker.NewSecret("x") }, "Password", "one of"},
		"password and file":          {func(s *Settings) { s.Username, s.Password, s.PasswordFile = "u", broker.NewSecret("x"), "f" }, "PasswordFile", "one of"},
		"password without user":      {func(s *Settings) { s.PasswordFile = "f" }, "Username", "name the user"},
		"user without password":      {func(s *Settings) { s.Username = "u" }, "Password", "is missing"},
		"unknown auth":               {func(s *Settings) { s.Auth = "kerberos" }, "Auth", "plain or external"},
		"external without TLS":       {func(s *Settings) { s.Auth = AuthExternal }, "Auth", "amqps://"},
		"external with user":         {func(s *Settings) { s.Auth = AuthExternal; s.Username = "u" }, "Auth", "remove"},
		"TLS without amqps":          {func(s *Settings) { s.TLS.CAFile = "ca" }, "TLS", "amqps://"},
		"certificate without key":    {func(s *Settings) { s.URL = broker.NewSecret("amqps://h"); s.TLS.CertFile = "c" }, "TLS.KeyFile", "both"},
		"key without certificate":    {func(s *Settings) { s.URL = broker.NewSecret("amqps://h"); s.TLS.KeyFile = "k" }, "TLS.CertFile", "both"},
		"short heartbeat":            {func(s *Settings) { s.Heartbeat = 500 * time.Millisecond }, "Heartbeat", "whole seconds"},
		"broken heartbeat":           {func(s *Settings) { s.Heartbeat = 1500 * time.Millisecond }, "Heartbeat", "whole seconds"},
		"endless heartbeat":          {func(s *Settings) { s.Heartbeat = 65536 * time.Second }, "Heartbeat", "whole seconds"},
		"negative dial timeout":      {func(s *Settings) { s.DialTimeout = -1 }, "DialTimeout", "at least 100ms"},
		"connect below dial":         {func(s *Settings) { s.ConnectTimeout = time.Second }, "ConnectTimeout", "at least dial_timeout, 5s"},
		"negative write timeout":     {func(s *Settings) { s.WriteTimeout = -1 }, "WriteTimeout", "at least"},
		"short ack timeout":          {func(s *Settings) { s.AckTimeout = time.Millisecond }, "AckTimeout", "at least 1s"},
		"long connection name":       {func(s *Settings) { s.ConnectionName = long }, "ConnectionName", "255"},
		"prefetch beyond 16 bits":    {func(s *Settings) { s.Prefetch = 65536 }, "Prefetch", "65535"},
		"negative prefetch":          {func(s *Settings) { s.Prefetch = -1 }, "Prefetch", "1 to"},
		"message size":               {func(s *Settings) { s.MaxMessageBytes = 1 << 30 }, "MaxMessageBytes", "512 MiB"},
		"negative message size":      {func(s *Settings) { s.MaxMessageBytes = -1 }, "MaxMessageBytes", "512 MiB"},
		"unknown topology":           {func(s *Settings) { s.Topology = "guess" }, "Topology", "declare, verify or none"},
		"unknown queue type":         {func(s *Settings) { s.QueueType = "stream" }, "QueueType", "quorum or classic"},
		"limit of a classic queue":   {func(s *Settings) { s.QueueType = Classic; s.DeliveryLimit = 5 }, "DeliveryLimit", "remove it"},
		"negative limit":             {func(s *Settings) { s.DeliveryLimit = -1 }, "DeliveryLimit", "from 1"},
		"copies of a classic queue":  {func(s *Settings) { s.QueueType = Classic; s.QuorumGroupSize = 3 }, "QuorumGroupSize", "remove it"},
		"negative copies":            {func(s *Settings) { s.QuorumGroupSize = -3 }, "QuorumGroupSize", "from 1"},
		"negative messages":          {func(s *Settings) { s.MaxMessages = -1 }, "MaxMessages", "negative"},
		"negative bytes":             {func(s *Settings) { s.MaxBytes = -1 }, "MaxBytes", "negative"},
		"long dead-letter queue":     {func(s *Settings) { s.DeadLetter = long }, "DeadLetter", "255"},
		"reserved dead-letter queue": {func(s *Settings) { s.DeadLetter = "amq.dead" }, "DeadLetter", "amq."},
		"delay below 1 ms":           {func(s *Settings) { s.Delays = []time.Duration{time.Microsecond} }, "Delays[0]", "milliseconds"},
		"delay of part of a ms":      {func(s *Settings) { s.Delays = []time.Duration{1500 * time.Microsecond} }, "Delays[0]", "milliseconds"},
		"delay beyond 10 years":      {func(s *Settings) { s.Delays = []time.Duration{MaxDelay + time.Millisecond} }, "Delays[0]", "87600h0m0s"},
		"delays that fall":           {func(s *Settings) { s.Delays = []time.Duration{2, 1, 1} }, "Delays[0]", ""},
		"delay twice":                {func(s *Settings) { s.Delays = []time.Duration{time.Second, time.Second} }, "Delays[1]", "longer"},
		"too many delays":            {func(s *Settings) { s.Delays = rising(101) }, "Delays", "100"},
		"binding to nothing":         {bind(Binding{Type: Fanout}), "Bindings[0].Exchange", "is empty"},
		"long exchange":              {bind(Binding{Exchange: long}), "Bindings[0].Exchange", "255"},
		"unknown exchange type":      {bind(Binding{Exchange: "e", Type: "x-delayed-message"}), "Bindings[0].Type", "direct, topic"},
		"direct without key":         {bind(Binding{Exchange: "e", Type: Direct}), "Bindings[0].RoutingKeys", "at least one"},
		"direct with headers":        {bind(Binding{Exchange: "e", Type: Direct, RoutingKeys: []string{"k"}, Headers: map[string]string{"a": "b"}}), "Bindings[0].Headers", "means nothing"},
		"fanout with key":            {bind(Binding{Exchange: "e", Type: Fanout, RoutingKeys: []string{"k"}}), "Bindings[0].RoutingKeys", "means nothing"},
		"headers without headers":    {bind(Binding{Exchange: "e", Type: Headers}), "Bindings[0].Headers", "fanout"},
		"headers and keys":           {bind(Binding{Exchange: "e", RoutingKeys: []string{"k"}, Headers: map[string]string{"a": "b"}}), "Bindings[0].Headers", "one of the two"},
		"header that is skipped":     {bind(Binding{Exchange: "e", Type: Headers, Headers: map[string]string{"x-a": "b"}}), "Bindings[0].Headers[x-a]", "skips"},
		"header without name":        {bind(Binding{Exchange: "e", Type: Headers, Headers: map[string]string{"": "b"}}), "Bindings[0].Headers[]", "1 to 255"},
		"unknown match":              {bind(Binding{Exchange: "e", Type: Headers, Headers: map[string]string{"a": "b"}, Match: "most"}), "Bindings[0].Match", "all or any"},
		"match of nothing":           {bind(Binding{Exchange: "e", Type: Fanout, Match: MatchAny}), "Bindings[0].Match", "remove it"},
		"long key":                   {bind(Binding{Exchange: "e", Type: Topic, RoutingKeys: []string{long}}), "Bindings[0].RoutingKeys[0]", "255"},
		"key twice":                  {bind(Binding{Exchange: "e", Type: Topic, RoutingKeys: []string{"k", "k"}}), "Bindings[0].RoutingKeys[1]", "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := Settings{URL: broker.NewSecret("amqp://localhost")}
			c.set(&s)
			err := s.Validate()
			if fields := fieldsOf(t, err); len(fields) == 0 || fields[0] != c.field {
				t.Fatalf("faults in %q, want %s: %v", fields, c.field, err)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v does not say %q", err, c.says)
			}
			if !errors.Is(err, broker.ErrInvalid) {
				t.Errorf("%v is not broker.ErrInvalid", err)
			}
		})
	}
}

func bind(b Binding) func(*Settings) {
	return func(s *Settings) { s.Bindings = []Binding{b} }
}

func rising(n int) []time.Duration {
	delays := make([]time.Duration, n)
	for i := range delays {
		delays[i] = time.Duration(i+1) * time.Second
	}
	return delays
}

// One look at the settings finds everything.
func TestAllFaultsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	s := Settings{Heartbeat: -1, Prefetch: -1, Topology: "x", Bindings: []Binding{{}, {Exchange: "e", Type: "x"}}}
	want := "[URL Heartbeat Topology Prefetch Bindings[0].Exchange Bindings[1].Type]"
	if fields := fieldsOf(t, s.Validate()); fmt.Sprint(fields) != want {
		t.Errorf("faults in %v, want %s", fields, want)
	}
}

// A fault of the URL, or a password that landed elsewhere, quotes nothing of it.
func TestFaultsQuoteNoPassword(t *testing.T) {
	t.Parallel()
	const secret = "h0rse"
	for _, url := range []string{
		"amqp://u:h0rse%@h/", "amqp://u:h0rse/x@h/", "amqp://u:h0rse?x@h/", "amqp://u:h0rse#x@h/", "amqp:u:h0rse@h", "u:h0rse@h",
		"amqp://u:h0rse@h:port/", "amqp://u: h0rse@h/", "amqp://u:x@h0rse@h:99999/",
	} {
		s := Settings{URL: broker.NewSecret(url), Addresses: []string{"u:h0rse@h:5"}, Password: broker.NewSecret(secret)}
		err := s.Validate()
		if err == nil {
			t.Errorf("the URL %q is accepted", url)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("the URL %q gives the error %v", url, err)
		}
	}
}

// The parts of a URL are decoded, and those that are left out have the defaults
// of every client of RabbitMQ.
func TestURLIsReadAsOtherClientsReadIt(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"amqp://":                          "localhost:5672 vhost / user guest",
		"amqps://h":                        "h:5671 vhost / user guest",
		"amqp://h:1/":                      "h:1 vhost / user guest",
		"amqp://h/%2F":                     "h:5672 vhost / user guest",
		"amqp://h/%2fa":                    "h:5672 vhost /a user guest",
		"amqp://h/a%20b":                   "h:5672 vhost a b user guest",
		"amqp://u%40x:p%2F%3A%23%3F%25@h/": "h:5672 vhost / user u@x password p/:#?%",
		"amqp://[::1]:7/v":                 "[::1]:7 vhost v user guest",
	} {
		s := Settings{URL: broker.NewSecret(url)}
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		d, err := newDialer(&s)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		got := fmt.Sprintf("%s vhost %s %s", d.addresses[0], d.target.vhost, login(t, d))
		if got != strings.ReplaceAll(want, "user guest", "user guest password guest") {
			t.Errorf("%s is read as %s, want %s", url, got, want)
		}
	}
}
