package middleware

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/idempotency"
)

// DedupeOptions configures [Dedupe]. Retention is required.
type DedupeOptions struct {
	// Retention is for how long a message that was handled is recognised when it
	// comes again; required, because it is a promise. It must exceed the time
	// within which duplicates can come: the broker's retention, a publisher that
	// tries again, a redrive of dead letters.
	Retention time.Duration
	// Lease is how long a claim is held without a word from its holder, and so how
	// long a message waits after the process that handled it was killed. While the
	// handler runs the claim is extended each third of it. Default 1 min; at least
	// 3 times StoreTimeout.
	Lease time.Duration
	// InProgressDelay is when a message whose work is in progress elsewhere comes
	// again, or earlier, when the other claim ends before. Default 1 s; positive.
	// Each time asks the store once.
	InProgressDelay time.Duration
	// StoreTimeout bounds one exchange with the store. Default 2 s, or a fifth of
	// Lease where that is less; positive.
	StoreTimeout time.Duration

	// Scope separates works that share a store: the same message handled by two
	// consumers is two works. Default: the consumer's name, so that consumers that
	// share a store must be given names. Changing it forgets what was done.
	Scope string
	// Key says which work a message asks for. Default: its ID. A business key
	// ("refund of order 42") makes different messages duplicates of each other;
	// then Fingerprint should cover what makes the request the same, or be
	// NoFingerprint. A message with an empty key is dead-lettered.
	Key func(d *broker.Delivery) string
	// Fingerprint tells payloads of one key apart. Default: the SHA-256 of the
	// body. An empty one equals all others.
	Fingerprint func(d *broker.Delivery) string

	// OnDuplicate is called for each message that is acknowledged without being
	// handled, before its acknowledgement; from many goroutines.
	OnDuplicate func(ctx context.Context, d *broker.Delivery)
	// Logger gets duplicates at debug, conflicts and trouble with the store from
	// warn up. Default slog.Default(), as it is when the middleware is made.
	Logger *slog.Logger
	// MeterProvider makes the counter anyqueue.dedupe.checks. Default:
	// OpenTelemetry's global provider.
	MeterProvider metric.MeterProvider
}

// NoFingerprint is a [DedupeOptions].Fingerprint that makes all payloads of a
// key equal.
func NoFingerprint(*broker.Delivery) string { return "" }

// validate reports every fault at once and fills in the defaults.
func (o *DedupeOptions) validate(store idempotency.Store) error {
	var f faults
	f.check(store != nil, "Store", nil, "is nil; pass an idempotency.Store, for one process idempotency.NewMemory")
	f.check(o.Retention > 0, "Retention", o.Retention,
		"must be positive and has no default: say for how long duplicates are to be recognised, longer than they can be under way")
	f.check(o.Lease >= 0, "Lease", o.Lease, "must be positive; leave it 0 for the default of 1m")
	f.check(o.StoreTimeout >= 0, "StoreTimeout", o.StoreTimeout, "must be positive; leave it 0 for the default of 2s")
	f.check(o.InProgressDelay >= 0, "InProgressDelay", o.InProgressDelay, "must be positive; leave it 0 for the default of 1s")
	defaultTo(&o.Lease, time.Minute)
	defaultTo(&o.InProgressDelay, time.Second)
	defaultTo(&o.StoreTimeout, max(min(2*time.Second, o.Lease/5), 1))
	f.check(o.Lease < 0 || o.StoreTimeout < 0 || o.Lease >= 3*o.StoreTimeout, "Lease", o.Lease, fmt.Sprintf(
		"must be at least 3 times StoreTimeout (%s), so that an extension can fail and be tried again", o.StoreTimeout))
	if o.Key == nil {
		o.Key = func(d *broker.Delivery) string { return d.ID }
	}
	if o.Fingerprint == nil {
		o.Fingerprint = bodyHash
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return f.err()
}

func bodyHash(d *broker.Delivery) string {
	sum := sha256.Sum256(d.Body)
	return hex.EncodeToString(sum[:])
}

// scoped joins scope and key so that no two pairs meet: the first colon ends the
// scope.
func scoped(scope, key string) string {
	if strings.ContainsAny(scope, ":%") {
		scope = scopeEscapes.Replace(scope)
	}
	return scope + ":" + key
}

var scopeEscapes = strings.NewReplacer(":", "%3A", "%", "%25")
