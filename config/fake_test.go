package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// fakeSettings holds a field of every kind that a file can.
type fakeSettings struct {
	URL      broker.Secret     `yaml:"url" required:"true" doc:"Where the broker is, with credentials."`
	Lease    time.Duration     `yaml:"lease" default:"30s" doc:"How long a delivery is leased."`
	Prefetch uint8             `yaml:"prefetch"`
	FrameMax int64             `yaml:"frame_max_bytes" min:"1"`
	Ratio    float32           `yaml:"ratio"`
	Durable  bool              `yaml:"durable"`
	Mode     string            `yaml:"mode" enum:"classic,quorum"`
	Hosts    []host            `yaml:"hosts"`
	Labels   map[string]string `yaml:"labels"`
	TLS      *tlsSettings      `yaml:"tls"`
	Level    slog.Level        `yaml:"level"`
	Common   `yaml:",inline"`
	Dial     func() `yaml:"-"`
}

type host struct {
	Name string `yaml:"name" required:"true" doc:"The host's name."`
	Port int    `yaml:"port"`
}

type tlsSettings struct {
	Verify *bool         `yaml:"verify"`
	Key    broker.Secret `yaml:"key"`
}

// Common is embedded.
type Common struct {
	VHost string // without a tag the key is vhost
}

// Validate finds what only the values together tell.
func (s *fakeSettings) Validate() error {
	var errs []error
	if _, err := url.Parse(s.URL.Reveal()); err != nil {
		errs = append(errs, &broker.FieldError{Field: "URL", Value: s.URL.Reveal(), Problem: "is no URL: " + err.Error()})
	}
	if s.URL.IsZero() {
		errs = append(errs, &broker.FieldError{Field: "URL", Problem: "is empty"})
	}
	for i, h := range s.Hosts {
		if h.Port < 0 {
			errs = append(errs, &broker.FieldError{Field: fmt.Sprintf("Hosts[%d].Port", i), Value: h.Port, Problem: "must not be negative"})
		}
	}
	if s.TLS != nil && s.TLS.Verify != nil && !*s.TLS.Verify && s.Durable {
		errs = append(errs, &broker.FieldError{Field: "TLS.Verify", Value: false, Problem: "does not go with durable"})
	}
	if s.VHost == "odd" {
		errs = append(errs, errors.New("no field is to blame"), &broker.FieldError{Field: "Nowhere.At", Problem: "is unheard of"})
	}
	return errors.Join(errs...)
}

// fake is a broker that exists in this test alone.
type fake struct {
	settings *fakeSettings
	queue    string
	intent   broker.Intent
	openErr  error
	caps     broker.Capabilities
	closed   []string // in the order of closing
}

func (f *fake) driver(name string) broker.Driver {
	return broker.NewDriver(cmp.Or(name, "fake"),
		func() *fakeSettings { return &fakeSettings{Mode: "classic", Prefetch: 7} },
		func(_ context.Context, s *fakeSettings, queue string, intent broker.Intent) (*broker.Endpoint, error) {
			f.settings, f.queue, f.intent = s, queue, intent
			if f.openErr != nil {
				return nil, f.openErr
			}
			return &broker.Endpoint{
				Subscription: fakeSubscription{fake: f}, Publisher: fakePublisher{fake: f},
				Queue: queue, DeadLetter: queue + ".dlq",
			}, nil
		})
}

// fakeSubscription has no messages.
type fakeSubscription struct {
	broker.Subscription // whatever is not below is not called
	fake                *fake
}

func (s fakeSubscription) Capabilities() broker.Capabilities { return s.fake.caps }

func (s fakeSubscription) Receive(ctx context.Context, _ broker.Credit) ([]broker.Delivery, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (s fakeSubscription) Stats(context.Context) (broker.Stats, error) { return broker.Stats{}, nil }

func (s fakeSubscription) Close(context.Context) error {
	s.fake.closed = append(s.fake.closed, "subscription")
	return nil
}

type fakePublisher struct {
	broker.Publisher
	fake *fake
}

func (p fakePublisher) Close(context.Context) error {
	p.fake.closed = append(p.fake.closed, "publisher")
	return nil
}

// able can do everything.
var able = broker.Capabilities{
	Broker: "fake", System: "fake", Source: "q", Lease: time.Minute, Extends: true,
	Keys: true, KeyOrder: true, CarriesAttempts: true, CarriesFailure: true, CountsAbandoned: true,
	ReleaseIsFree: true, MaxDelay: time.Hour, DeadLetters: true, MaxSettle: 10, MaxExtend: 10,
}

// env is an environment for Parse.
func env(pairs ...string) func(string) (string, bool) {
	vars := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		vars[pairs[i]] = pairs[i+1]
	}
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}
