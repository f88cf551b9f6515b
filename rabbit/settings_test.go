package rabbit_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/config"
	"github.com/anyqueue/anyqueue/rabbit"
)

// section is every setting in a file.
const section = `broker: rabbitmq
queue: refunds
rabbitmq:
  url: amqps://${HOST}
  addresses: [b.example:5671, c.example:5671]
  vhost: payments
  username: worker
  password_file: /run/secrets/rabbitmq
  auth: plain
  tls: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem, server_name: rabbit.example}
  heartbeat: 5s
  dial_timeout: 4s
  connect_timeout: 1m
  write_timeout: 3s
  connection_name: refund worker
  prefetch: 250
  ack_timeout: -1s
  max_message_bytes: 8MiB
  topology: verify
  queue_type: quorum
  dead_letter: refunds.dead
  delivery_limit: 50
  delays: [1s, 30s, 5m]
  max_messages: 1000000
  max_bytes: 2GiB
  quorum_group_size: 5
  bindings:
    - {exchange: payments, type: topic, routing_keys: [refund.*.created]}
    - {exchange: audit, type: headers, headers: {kind: refund}, match: any}
`

func lookup(name string) (string, bool) { return "a.example", name == "HOST" }

// A file can give every setting, and each arrives; the schema knows the same keys.
func TestFileGivesEverySetting(t *testing.T) {
	t.Parallel()
	var got *rabbit.Settings
	spy := broker.NewDriver("rabbitmq", func() *rabbit.Settings { got = &rabbit.Settings{}; return got }, nil)
	if _, err := config.Parse("worker.yaml", []byte(section), lookup, spy); err != nil {
		t.Fatal(err)
	}
	want := rabbit.Settings{
		URL: broker.NewSecret("amqps://a.example"), Addresses: []string{"b.example:5671", "c.example:5671"}, VHost: "payments",
		Username: "worker", PasswordFile: "/run/secrets/rabbitmq", Auth: rabbit.AuthPlain,
		TLS:       rabbit.TLS{CAFile: "ca.pem", CertFile: "cert.pem", KeyFile: "key.pem", ServerName: "rabbit.example"},
		Heartbeat: 5 * time.Second, DialTimeout: 4 * time.Second, ConnectTimeout: time.Minute, WriteTimeout: 3 * time.Second,
		ConnectionName: "refund worker", Prefetch: 250, AckTimeout: -time.Second, MaxMessageBytes: 8 << 20,
		Topology: rabbit.TopologyVerify, QueueType: rabbit.Quorum, DeadLetter: "refunds.dead", DeliveryLimit: 50,
		Delays:      []time.Duration{time.Second, 30 * time.Second, 5 * time.Minute},
		MaxMessages: 1_000_000, MaxBytes: 2 << 30, QuorumGroupSize: 5,
		Bindings: []rabbit.Binding{
			{Exchange: "payments", Type: rabbit.Topic, RoutingKeys: []string{"refund.*.created"}},
			{Exchange: "audit", Type: rabbit.Headers, Headers: map[string]string{"kind": "refund"}, Match: rabbit.MatchAny},
		},
	}
	if fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", want) || got.URL != want.URL {
		t.Errorf("read\n%+v\nwant\n%+v", *got, want)
	}
	schema, err := config.Schema(rabbit.Driver)
	if err != nil {
		t.Fatal(err)
	}
	var root struct {
		Properties struct {
			RabbitMQ struct {
				Properties map[string]any
				Required   []string
			} `json:"rabbitmq"`
		}
	}
	if err := json.Unmarshal(schema, &root); err != nil {
		t.Fatal(err)
	}
	for key := range root.Properties.RabbitMQ.Properties {
		if !strings.Contains(section, "\n  "+key+":") && key != "password" { // password_file is in its place
			t.Errorf("the key %s is not in the file of this test", key)
		}
	}
	if fmt.Sprint(root.Properties.RabbitMQ.Required) != "[url]" {
		t.Errorf("required: %v", root.Properties.RabbitMQ.Required)
	}
}

// Faults point at their place in the file, in lists and maps too.
func TestFaultsHaveTheirPlaceInTheFile(t *testing.T) {
	t.Parallel()
	_, err := config.Parse("worker.yaml", []byte(`broker: rabbitmq
queue: refunds
rabbitmq:
  url: amqp://a.example/?heartbeat=5
  addresses: [b.example:5672, c.example]
  delays: [5s, 1s]
  queue_type: quroum
  heartbeat: 0
  bindings:
    - exchange: payments
      type: headers
      headers: {x-kind: refund}
    - {type: fanout}
`), lookup, rabbit.Driver)
	for _, place := range []string{"4:", "5:", "6:", "7:", "8:", "12:", "13:"} {
		if !strings.Contains(fmt.Sprint(err), "worker.yaml:"+place) {
			t.Errorf("no fault in line %s\n%v", place, err)
		}
	}
	if !strings.Contains(fmt.Sprint(err), "did you mean quorum?") {
		t.Errorf("no suggestion: %v", err)
	}
}
