package bench

// full is what the claims are made for: a time limit for each attempt, retries,
// capture of panics and metrics on, tracing off.
var full = variant{timeout: true, metrics: true}

// Names of the contenders.
const (
	NameChannel      = "channel and goroutines"
	NameMemory       = "in-memory broker alone"
	NameFull         = "anyqueue"
	NameNoMetrics    = "anyqueue, metrics off"
	NameBare         = "anyqueue, metrics and timeout off"
	NameTraced       = "anyqueue, tracing on"
	NameWatermill    = "Watermill"
	NameWatermillFor = "Watermill, 4 middlewares"
)

// Contenders returns those that can do case c. b is the size of the batches of
// the broker alone.
func Contenders(c Case, b Batches) []Contender {
	all := []Contender{
		{Name: NameChannel, Keyed: true, Start: startChannel},
		{Name: NameMemory, Keyed: true, Start: startRaw(b)},
		{Name: NameFull, Keyed: true, Start: startConsumer(full, nil)},
		{Name: NameNoMetrics, Keyed: true, Start: startConsumer(variant{timeout: true}, nil)},
		{Name: NameBare, Keyed: true, Start: startConsumer(variant{}, nil)},
		{Name: NameTraced, Keyed: true, Start: startConsumer(variant{timeout: true, metrics: true, tracing: true}, nil)},
		{Name: NameWatermill, Start: startWatermill(false)},
		{Name: NameWatermillFor, Start: startWatermill(true)},
	}
	able := all[:0]
	for _, ct := range all {
		if ct.Keyed || !c.Keyed {
			able = append(able, ct)
		}
	}
	return able
}
