// Package telemetry holds every OpenTelemetry name, instrument and span of
// anyqueue in one place. It depends on the OpenTelemetry API alone; the program
// chooses the SDK and the exporters, and pays next to nothing without them.
//
// The runtime creates one [Worker] per consumer. A program that publishes wraps
// its publisher with [WrapPublisher]; that is what connects the trace of a
// request with the traces of the messages it caused. Context travels in the
// message headers that the propagator writes (traceparent, tracestate, baggage),
// and the Go API has no propagator until the program sets one:
//
//	otel.SetTextMapPropagator(propagation.TraceContext{})
//
// Names, units and attributes under messaging., server. and error. follow the
// semantic conventions, version [SemconvVersion]; everything else begins with
// anyqueue.
//
// # Spans
//
// Every attempt at a message is a process span, linked to the creation context:
// that of the span that published the message first. A single message's span is
// its child as well, so that one trace shows a message from its request to its
// last attempt; a batch's span is never a child. Headers are not rewritten on the
// way, so retries, dead letters and redrives keep their creation context, and
// nothing piles up. No span is held open while a message waits.
//
//	publish, send  PRODUCER  "publish {destination}" on RabbitMQ, else "send {destination}"
//	                         CLIENT when no message carries the context of this span
//	create         PRODUCER  "create {destination}", one per message published with others
//	process        CONSUMER  "process {destination}"
//
// # Metrics
//
// Shared attributes: operation = messaging.system, messaging.operation.name,
// messaging.destination.name, server.address, server.port; worker = destination, consumer;
// queue = destination. Attributes without a value are absent.
//
//	metric                                   kind             unit         attributes
//	---------------------------------------  ---------------  -----------  ------------------------------------------------------------------------------
//	messaging.process.duration               histogram        s            operation, messaging.consumer.group.name, error.type
//	messaging.client.operation.duration      histogram        s            operation, messaging.operation.type, messaging.consumer.group.name, error.type
//	messaging.client.sent.messages           counter          {message}    operation, error.type
//	messaging.client.consumed.messages       counter          {message}    operation, messaging.consumer.group.name
//	anyqueue.worker.message.active           up-down counter  {message}    worker
//	anyqueue.worker.message.buffered         up-down counter  {message}    worker
//	anyqueue.worker.message.held             up-down counter  {message}    worker
//	anyqueue.worker.concurrency.limit        gauge            {message}    worker
//	anyqueue.worker.concurrency.utilization  gauge            1            worker
//	anyqueue.worker.dispatch.wait.duration   histogram        s            worker
//	anyqueue.worker.settlements              counter          {message}    worker, outcome, failure.class
//	anyqueue.worker.retries                  counter          {retry}      worker, failure.class, mode
//	anyqueue.message.wait.duration           histogram        s            worker
//	anyqueue.message.completion.duration     histogram        s            worker, outcome
//	anyqueue.dead_letter.messages            counter          {message}    worker, failure.class, error.type
//	anyqueue.lease.extensions                counter          {extension}  worker
//	anyqueue.lease.losses                    counter          {lease}      worker, reason
//	anyqueue.dedupe.checks                   counter          {check}      worker, result
//	anyqueue.consumer.status                 up-down counter  {consumer}   worker, state
//	anyqueue.consumer.reconnects             counter          {reconnect}  worker, error.type
//	anyqueue.queue.message.count             gauge            {message}    queue, state
//	anyqueue.queue.oldest_message.age        gauge            s            queue
//	anyqueue.dead_letter.message.count       gauge            {message}    queue
//
// outcome is ack, retry, dead_letter, release or lost; failure.class one of
// [failure.Classes]; error.type a stable code or a Go type, see [ErrorType].
// No metric carries a message id, a key, a fingerprint or the text of an error,
// and no attribute takes more than a bounded number of values.
package telemetry
