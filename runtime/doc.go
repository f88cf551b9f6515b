// Package runtime is the consumer: it receives messages from any broker's
// subscription and runs a handler on them, with one retry policy, leases that
// are kept alive, bounded concurrency and memory, order per key, dead letters
// that explain themselves, an orderly shutdown, and figures that add up.
//
// A [Consumer] is made with [New] from a subscription, a [Handler] and
// [Options], and runs until the context of [Consumer.Run] ends. [NewBatch] is the
// same for handlers of several messages at once, [JSON] and [Typed] wrap handlers
// of decoded values, [Run] and [RunUntilSignal] run several consumers.
//
// What a handler returns decides about its message: nil acknowledges it, an error
// is classified (package failure) and retried or dead-lettered by policy, and the
// outcomes [RetryAfter], [Release], [DeadLetter] and [Drop] say exactly what to do.
//
// The promises that a consumer keeps on every broker, and what a broker cannot
// give, stand in the README; how they are kept stands in DESIGN.md.
//
// The package is named like one of the standard library; import that one as
// goruntime where both are needed.
package runtime
