// Package middleware holds wrappers around a handler that most queues need:
// recognising duplicates, decoding, limiting the rate, sparing a dependency that
// is down, bounding time, and logging.
//
// Each constructor returns a [runtime.Middleware] for Options.Middleware. Faults
// in its options are reported by runtime.New, together with all others.
//
// # Order
//
// The first in the list is the outermost. This order is right for most:
//
//	Middleware: []runtime.Middleware{
//		middleware.Logging(...),        // sees what came of everything inside it
//		middleware.Decode(...),         // what does not decode goes no further
//		middleware.Dedupe(...),         // a duplicate costs no token and no probe
//		middleware.RateLimit(...),      // waits while the claim is held
//		middleware.CircuitBreaker(...), // next to the calls that it counts
//		middleware.Timeout(...),        // bounds the handler alone
//	}
//
// A CircuitBreaker must stand inside Dedupe: a duplicate is acknowledged without
// a call, and a breaker outside would take that for a success of the dependency.
//
// # What is no middleware
//
// The runtime itself captures panics, retries, and extends leases. A panic passes
// through everything here, which gives back what it holds and does not recover.
package middleware
