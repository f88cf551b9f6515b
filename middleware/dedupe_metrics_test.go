package middleware_test

import (
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/anyqueue/anyqueue/idempotency"
	"github.com/anyqueue/anyqueue/middleware"
)

// Every check is counted once, by what the store answered.
func TestChecksAreCountedByResult(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	o := day
	o.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	o.Scope = "s"
	store := &hooked{Store: newStore(t)}
	h := wrap(t, succeed, middleware.Dedupe(store, o))
	if _, err := store.Claim(t.Context(), idempotency.NewClaim("s:busy", ""), o.Retention); err != nil {
		t.Fatal(err)
	}
	for _, m := range [][2]string{{"1", "a"}, {"1", "a"}, {"1", "b"}, {"2", "a"}, {"busy", "a"}} {
		_ = h(t.Context(), message(m[0], m[1]))
	}
	store.claim = down
	_ = h(t.Context(), message("3", "a"))

	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int64)
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != "anyqueue.dedupe.checks" {
				continue
			}
			for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
				result, _ := p.Attributes.Value(attribute.Key("result"))
				got[result.AsString()] += p.Value
			}
		}
	}
	want := map[string]int64{"new": 2, "duplicate": 1, "conflict": 1, "in_progress": 1, "error": 1}
	for result, n := range want {
		if got[result] != n {
			t.Errorf("%s was counted %d times, want %d", result, got[result], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}
