package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/metric"
)

// Results of a check for duplicates, for [Dedupe.Checked].
const (
	// DedupeNew: the claim was granted, the message is handled.
	DedupeNew = "new"
	// DedupeDuplicate: the work was done before.
	DedupeDuplicate = "duplicate"
	// DedupeInProgress: another delivery is doing the work now.
	DedupeInProgress = "in_progress"
	// DedupeConflict: the same key came with another payload.
	DedupeConflict = "conflict"
	// DedupeError: the store did not answer.
	DedupeError = "error"
)

// Dedupe counts what the idempotency store answered: anyqueue.dedupe.checks. Its
// method is safe for concurrent use.
type Dedupe struct {
	checks  metric.Int64Counter
	options map[string][]metric.AddOption
}

// NewDedupe makes the counter; of c it reads Meter, Destination and Consumer.
// The error is as for [NewWorker].
func NewDedupe(c Config) (*Dedupe, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	b := &builder{meter: c.meter()}
	d := &Dedupe{checks: b.counter(MetricDedupeChecks), options: make(map[string][]metric.AddOption)}
	for _, result := range []string{DedupeNew, DedupeDuplicate, DedupeInProgress, DedupeConflict, DedupeError} {
		d.options[result] = addOptions(append(c.worker(), keyResult.String(result)))
	}
	if err := b.err(); err != nil {
		return nil, err
	}
	return d, nil
}

// Checked counts one check. result is one of the Dedupe constants; any other
// counts as [DedupeError].
func (d *Dedupe) Checked(ctx context.Context, result string) {
	opts, ok := d.options[result]
	if !ok {
		opts = d.options[DedupeError]
	}
	d.checks.Add(ctx, 1, opts...)
}
