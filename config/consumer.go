package config

import (
	"time"

	"github.com/anyqueue/anyqueue/failure"
	"github.com/anyqueue/anyqueue/runtime"
)

// The consumer section. Its structs mirror [runtime.Options] field by field, so
// that a fault in an option leads to its key; runtime itself knows nothing of
// files. What only code can set (handlers, loggers, meters) has no key.

type consumer struct {
	Name        string `yaml:"name" default:"the name of the broker" doc:"Identifies the consumer in telemetry, logs and dead letters."`
	CodeVersion string `yaml:"code_version" default:"the version in the program's build information" doc:"Written into dead letters, to tell which release failed."`

	Concurrency      int              `yaml:"concurrency" default:"10" min:"1" max:"100000" doc:"How many handlers run at once."`
	MaxInFlight      int              `yaml:"max_in_flight" default:"4 times concurrency, at least 16" min:"1" doc:"The most messages that are received and not yet settled; at least concurrency."`
	MaxInFlightBytes int              `yaml:"max_in_flight_bytes" default:"64MiB" min:"1" doc:"Bounds the bytes of messages in flight. It may be exceeded by one message."`
	Ordering         runtime.Ordering `yaml:"ordering" default:"none" enum:"none,key" doc:"key runs messages of one key one at a time, in order, and different keys in parallel."`

	Timeout      time.Duration `yaml:"timeout" min:"0" doc:"The longest that one attempt may run before it is cancelled and fails. 0s: no limit of its own."`
	MaxLease     time.Duration `yaml:"max_lease" default:"1h, or the broker's cap where that is lower" min:"0" doc:"The longest that a message is kept leased by extension. It must exceed timeout."`
	MaxAbandoned int           `yaml:"max_abandoned" default:"5" negative:"no limit" doc:"How often a message may come back without a settlement before it is dead-lettered as a crash."`

	BatchSize int           `yaml:"batch_size" default:"10" min:"1" doc:"How many messages a batch handler gets at most; up to max_in_flight."`
	BatchWait time.Duration `yaml:"batch_wait" default:"100ms" negative:"a batch runs at once" doc:"How long a batch waits to be filled after its first message was ready."`

	DrainTimeout time.Duration `yaml:"drain_timeout" default:"30s" negative:"handlers are cancelled at once" doc:"How long running handlers may go on after shutdown began."`
	StopTimeout  time.Duration `yaml:"stop_timeout" default:"5s" min:"0" doc:"How long handlers may take to return after they were cancelled, and settling and closing after that."`
	StallAfter   time.Duration `yaml:"stall_after" default:"1m" min:"0" doc:"When health turns bad: work waits, a worker is free, and nothing started for so long."`
	StatsEvery   time.Duration `yaml:"stats_every" default:"15s" negative:"never" doc:"How often the broker is asked what the queue looks like, for metrics and health."`

	Retry retryPolicy `yaml:"retry" doc:"The one retry policy: one budget per message, spent by every failed attempt."`
}

type retryPolicy struct {
	MaxAttempts int                           `yaml:"max_attempts" default:"5" min:"1" max:"1000" doc:"How often a message is tried in all; 1: never again."`
	MaxElapsed  time.Duration                 `yaml:"max_elapsed" min:"0" doc:"Ends retries this long after the first failure. 0s: no limit."`
	MaxHold     time.Duration                 `yaml:"max_hold" min:"0" doc:"How long in all a delivery may be held inside the process between attempts instead of going back through the broker. 0s: every retry goes through the broker, where it can delay."`
	Backoff     backoff                       `yaml:"backoff" doc:"The delay between attempts, unless the class of the failure has its own."`
	Classes     map[failure.Class]classPolicy `yaml:"classes" enum:"format,dependency,data,resource,timeout,bug,crash,unclassified" doc:"What is different for single classes of failures."`
}

type classPolicy struct {
	MaxAttempts int     `yaml:"max_attempts" default:"that of the class" min:"1" max:"1000" doc:"The budget when an attempt fails with this class; 1: dead-letter at once."`
	Backoff     backoff `yaml:"backoff" doc:"Replaces the backoff of the retry policy."`
}

type backoff struct {
	Initial time.Duration `yaml:"initial" default:"200ms, in a class that of the class" min:"0" doc:"The upper end of the first wait."`
	Max     time.Duration `yaml:"max" default:"1m, in a class that of the class" min:"0" doc:"Caps the wait; at least initial."`
	Factor  float64       `yaml:"factor" default:"2, in a class that of the class" min:"1" doc:"Multiplies the wait after each attempt."`
	Jitter  float64       `yaml:"jitter" default:"1, in a class that of the class" max:"1" negative:"none" doc:"How much of the wait is random: 0.2 waits between 80 % and 100 %; 1 between 0 and 100 %."`
}

// options returns what the section says.
func (c consumer) options() runtime.Options {
	return runtime.Options{
		Name:             c.Name,
		Concurrency:      c.Concurrency,
		MaxInFlight:      c.MaxInFlight,
		MaxInFlightBytes: c.MaxInFlightBytes,
		Ordering:         c.Ordering,
		Timeout:          c.Timeout,
		MaxLease:         c.MaxLease,
		Retry:            c.Retry.policy(),
		MaxAbandoned:     c.MaxAbandoned,
		BatchSize:        c.BatchSize,
		BatchWait:        c.BatchWait,
		DrainTimeout:     c.DrainTimeout,
		StopTimeout:      c.StopTimeout,
		StallAfter:       c.StallAfter,
		StatsEvery:       c.StatsEvery,
		CodeVersion:      c.CodeVersion,
	}
}

func (r retryPolicy) policy() runtime.RetryPolicy {
	p := runtime.RetryPolicy{
		MaxAttempts: r.MaxAttempts,
		MaxElapsed:  r.MaxElapsed,
		MaxHold:     r.MaxHold,
		Backoff:     runtime.Backoff(r.Backoff),
	}
	if r.Classes != nil {
		p.Classes = make(map[failure.Class]runtime.ClassPolicy, len(r.Classes))
		for class, c := range r.Classes {
			p.Classes[class] = runtime.ClassPolicy{MaxAttempts: c.MaxAttempts, Backoff: runtime.Backoff(c.Backoff)}
		}
	}
	return p
}
