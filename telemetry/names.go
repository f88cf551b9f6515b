package telemetry

import (
	"runtime/debug"
	"sync"

	"go.opentelemetry.io/otel/attribute"
)

const modulePath = "github.com/anyqueue/anyqueue"

// ScopeName is the instrumentation scope of every span and metric.
const ScopeName = modulePath + "/telemetry"

// SemconvVersion is the version of OpenTelemetry's semantic conventions that
// names, units and attributes under messaging., server. and error. follow. The
// messaging conventions are still in development: a new version may rename.
const SemconvVersion = "1.43.0"

// Names of the metrics. Their kinds, units and attributes stand in the table of
// the package documentation.
const (
	MetricProcessDuration   = "messaging.process.duration"
	MetricOperationDuration = "messaging.client.operation.duration"
	MetricSent              = "messaging.client.sent.messages"
	MetricConsumed          = "messaging.client.consumed.messages"

	MetricActive       = "anyqueue.worker.message.active"
	MetricBuffered     = "anyqueue.worker.message.buffered"
	MetricHeld         = "anyqueue.worker.message.held"
	MetricLimit        = "anyqueue.worker.concurrency.limit"
	MetricUtilization  = "anyqueue.worker.concurrency.utilization"
	MetricDispatchWait = "anyqueue.worker.dispatch.wait.duration"
	MetricSettlements  = "anyqueue.worker.settlements"
	MetricRetries      = "anyqueue.worker.retries"

	MetricMessageWait = "anyqueue.message.wait.duration"
	MetricCompletion  = "anyqueue.message.completion.duration"
	MetricDeadLetters = "anyqueue.dead_letter.messages"

	MetricLeaseExtensions = "anyqueue.lease.extensions"
	MetricLeaseLosses     = "anyqueue.lease.losses"
	MetricDedupeChecks    = "anyqueue.dedupe.checks"
	MetricStatus          = "anyqueue.consumer.status"
	MetricReconnects      = "anyqueue.consumer.reconnects"

	MetricQueueMessages      = "anyqueue.queue.message.count"
	MetricQueueOldestAge     = "anyqueue.queue.oldest_message.age"
	MetricDeadLetterMessages = "anyqueue.dead_letter.message.count"
)

// Attributes of our own metrics. They need no prefix, because the metric's name
// has one.
const (
	keyDestination  = attribute.Key("destination")
	keyConsumer     = attribute.Key("consumer")
	keyOutcome      = attribute.Key("outcome")
	keyFailureClass = attribute.Key("failure.class")
	keyMode         = attribute.Key("mode")
	keyReason       = attribute.Key("reason")
	keyResult       = attribute.Key("result")
	keyState        = attribute.Key("state")
)

// Attributes of our own on spans, which they share with other libraries.
const (
	spanConsumer     = attribute.Key("anyqueue.consumer")
	spanAttempt      = attribute.Key("anyqueue.message.attempt")
	spanKey          = attribute.Key("anyqueue.message.key")
	spanOutcome      = attribute.Key("anyqueue.outcome")
	spanFailureClass = attribute.Key("anyqueue.failure.class")
)

// Outcomes of a delivery: what [broker.Action] calls them, and two more.
const (
	OutcomeAck        = "ack"
	OutcomeRetry      = "retry"
	OutcomeDeadLetter = "dead_letter"
	OutcomeRelease    = "release"
	// OutcomeLost is the end of a delivery whose lease was lost: it was not
	// settled, and somebody else has it or will have it.
	OutcomeLost = "lost"
	// OutcomeDrop is an ack of a message that its handler dropped. Only spans tell
	// it apart; metrics count an ack.
	OutcomeDrop = "drop"
)

// States of a consumer, for [Snapshot].
const (
	StatusRunning      = "running"
	StatusPaused       = "paused"
	StatusBreakerOpen  = "breaker_open"
	StatusDraining     = "draining"
	StatusDisconnected = "disconnected"
)

var statuses = [...]string{StatusRunning, StatusPaused, StatusBreakerOpen, StatusDraining, StatusDisconnected}

// Modes of a retry.
const (
	modeHeld   = "held"
	modeBroker = "broker"
)

// States of messages in a queue.
const (
	stateReady    = "ready"
	stateInFlight = "in_flight"
	stateDelayed  = "delayed"
)

// systemOther stands for a messaging system that its adapter did not name.
const systemOther = "_OTHER"

// scopeVersion is the version of this module in the running program, "" when it
// was built from a work tree.
var scopeVersion = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	v := ""
	if info.Main.Path == modulePath {
		v = info.Main.Version
	}
	for _, dep := range info.Deps {
		if dep.Path == modulePath {
			v = dep.Version
		}
	}
	if v == "(devel)" {
		return ""
	}
	return v
})
