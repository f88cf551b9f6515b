// Package brokertest is the conformance suite for adapters: what package broker
// asks of a [broker.Subscription] and a [broker.Publisher], as tests that any
// adapter runs against its own broker. An adapter that passes can be put under
// the runtime; the in-memory broker passes in fake time, and every other one
// passes on a real server.
//
// # How an adapter uses it
//
// 1. Write one test in the adapter's package:
//
//	func TestConformance(t *testing.T) {
//		brokertest.Run(t, brokertest.Harness{NewQueue: newQueue})
//	}
//
// 2. Write newQueue. It makes a queue and a dead-letter queue with names that no
// other test uses, registers their removal with t.Cleanup, and returns a [Queue]
// with functions that open consumers and publishers on them, the way package
// config would: pass spec.Intent on, and set spec.Lease where the broker can. The
// example of [Run] is a complete one.
//
// 3. Run it with the race detector and see what fails:
//
//	go test -race -run TestConformance ./...
//	go test -race -run TestConformance/lease ./...
//	go test -race -run TestConformance/ack/SettlingTwice ./...
//
// The name of a case is a claim about the adapter; the comment above its function
// states the rule, and the last line of a failure names the promise to users that
// is broken.
//
// 4. State in [broker.Capabilities] what the broker cannot do: a case that needs
// more is skipped and says which capability it needs. A capability that is
// claimed is tested; one that is denied is tested for being refused with an error
// instead of being dropped silently. Nothing else skips a case, except a hook
// that is missing, Harness.CoarseBytes, and deliveries that live on no
// [broker.Session] where a case is about sessions. Look through the skips with -v
// before you believe a run: the last line counts them.
//
// 5. Write the three hooks of [Queue]. Without Kill, Drop and FailNext the suite
// cannot see what happens when a consumer crashes, when the network fails, and
// when the broker refuses a call: that is where messages are lost. Kill may let a
// child process die, or close the connection under the client; Drop and FailNext
// are easiest with a proxy between the client and the broker.
//
// 6. Put goleak into TestMain. The suite sees goroutines that run the adapter's
// own code after Close; only goleak sees those of its client library.
//
// 7. In continuous integration let a broker that cannot be reached fail the test
// instead of skipping it.
//
// # Time
//
// The suite tells the broker what to do and waits until it has happened; it waits
// for something not to happen only as long as Harness.Quiet. With the default
// times all cases together wait for less than 150 s and the longest for 11 s. Without a
// bubble they run in parallel, as many as go test -parallel allows, and mostly
// sleep: with -parallel 16 a broker on the same machine is done in about 15 s.
// Each case has a queue of its own, so nothing but the broker is shared. In a
// bubble ([Harness].Bubble) no time passes, and the whole suite takes less than
// a second.
//
// For a slow broker raise Patience first: it is what an adapter that works never
// waits for. Harness.Precision is for the resolution of the broker's clock.
//
// # What it asks
//
// One file for each subject: receive and credit, content, publish, ack, retry,
// release, deadletter, abandoned, lease, extend, keys, batch, stats, concurrency,
// close, disconnect, fault and capabilities. A case asks only what the comments
// of package broker say: where they leave a choice it takes any answer that is
// consistent (an ack between the end of a lease and the next delivery may be in
// time or too late, but not both), and where a broker is free in its order it
// looks at all consumers together.
//
// That each case can fail is proved by the tests of this package: they run the
// suite against a hundred mutants, adapters broken in one way each, and check
// that the named cases notice.
package brokertest
