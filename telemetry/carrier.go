package telemetry

import (
	"slices"

	"go.opentelemetry.io/otel/propagation"

	"github.com/anyqueue/anyqueue/broker"
)

// Carrier lets a propagator read and write message headers, for code that
// publishes without [WrapPublisher] or reads a trace context by itself:
//
//	propagator.Inject(ctx, telemetry.Carrier{Headers: &m.Headers})
//
// Names are compared exactly; propagators write them in lower case. Where a name
// repeats, Get returns the last. Set leaves exactly one, so that contexts never
// pile up; it writes into the headers' own array, so clone headers that are
// shared, such as those of a received message.
type Carrier struct{ Headers *broker.Headers }

var (
	_ propagation.TextMapCarrier = Carrier{}
	_ propagation.ValuesGetter   = Carrier{}
)

// Get returns the value of the last header called key, or "".
func (c Carrier) Get(key string) string {
	if c.Headers == nil {
		return ""
	}
	return c.Headers.Get(key)
}

// Values returns the values of all headers called key, in order.
func (c Carrier) Values(key string) []string {
	if c.Headers == nil {
		return nil
	}
	var values []string
	for _, h := range *c.Headers {
		if h.Name == key {
			values = append(values, h.Value)
		}
	}
	return values
}

// Set gives key exactly one value. It panics when Headers is nil.
func (c Carrier) Set(key, value string) { c.Headers.Set(key, value) }

// Keys returns the names of all headers, each once.
func (c Carrier) Keys() []string {
	if c.Headers == nil {
		return nil
	}
	keys := make([]string, 0, len(*c.Headers))
	for _, h := range *c.Headers {
		if !slices.Contains(keys, h.Name) {
			keys = append(keys, h.Name)
		}
	}
	return keys
}
