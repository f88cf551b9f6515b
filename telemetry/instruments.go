package telemetry

import (
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/metric"
)

// builder makes instruments from their definitions and keeps what went wrong.
type builder struct {
	meter metric.Meter
	errs  []error
}

func (b *builder) define(name, kind string) definition {
	for _, d := range catalog {
		if d.name == name && d.kind == kind {
			return d
		}
	}
	b.errs = append(b.errs, fmt.Errorf("telemetry: no %s %q is defined", kind, name))
	return definition{name: name}
}

func (b *builder) err() error { return errors.Join(b.errs...) }

// build makes one instrument: create is the meter's method for its type.
func build[I, O any](b *builder, name, kind string, create func(string, ...O) (I, error), options func(definition) []O) I {
	d := b.define(name, kind)
	i, err := create(d.name, options(d)...)
	if err != nil {
		b.errs = append(b.errs, fmt.Errorf("telemetry: create metric %s: %w", name, err))
	}
	return i
}

func (b *builder) histogram(name string, bounds []float64) metric.Float64Histogram {
	return build(b, name, kindHistogram, b.meter.Float64Histogram, func(d definition) []metric.Float64HistogramOption {
		return []metric.Float64HistogramOption{
			metric.WithUnit(d.unit), metric.WithDescription(d.description),
			metric.WithExplicitBucketBoundaries(bounds...),
		}
	})
}

func (b *builder) counter(name string) metric.Int64Counter {
	return build(b, name, kindCounter, b.meter.Int64Counter, func(d definition) []metric.Int64CounterOption {
		return []metric.Int64CounterOption{metric.WithUnit(d.unit), metric.WithDescription(d.description)}
	})
}

func (b *builder) upDown(name string) metric.Int64ObservableUpDownCounter {
	return build(b, name, kindUpDown, b.meter.Int64ObservableUpDownCounter, func(d definition) []metric.Int64ObservableUpDownCounterOption {
		return []metric.Int64ObservableUpDownCounterOption{metric.WithUnit(d.unit), metric.WithDescription(d.description)}
	})
}

func (b *builder) gauge(name string) metric.Int64ObservableGauge {
	return build(b, name, kindGauge, b.meter.Int64ObservableGauge, func(d definition) []metric.Int64ObservableGaugeOption {
		return []metric.Int64ObservableGaugeOption{metric.WithUnit(d.unit), metric.WithDescription(d.description)}
	})
}

func (b *builder) floatGauge(name string) metric.Float64ObservableGauge {
	return build(b, name, kindGauge, b.meter.Float64ObservableGauge, func(d definition) []metric.Float64ObservableGaugeOption {
		return []metric.Float64ObservableGaugeOption{metric.WithUnit(d.unit), metric.WithDescription(d.description)}
	})
}
