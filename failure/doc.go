// Package failure says what kind of failure an error is, whether two failures
// are the same one, and what a message that failed carries about it.
//
//   - [Classify] puts an error into one of a closed set of classes ([Class]). A
//     handler that knows better says so: return failure.Dependency(err).
//   - [Fingerprint] groups: the same failure with other ids, addresses and times
//     has the same fingerprint, in every run and build.
//   - [ErrorType] names an error for metrics, with few distinct values.
//   - [Record] is what a dead letter tells of its failures, and what travels with
//     a message from attempt to attempt where the broker can carry it. [Next]
//     builds it, [Record.Encode] and [Decode] write and read it.
//
// Errors come from anywhere, so nothing here trusts them: a method of an error
// that panics, a chain that is a circle, a typed nil pointer, a tree of a
// million joined errors and a message of a gigabyte cost a bounded effort and
// never a panic. What cannot be guarded against is a method that never returns,
// or that calls itself until the stack overflows.
//
// All functions are safe for concurrent use. The package imports nothing but
// the standard library; errors of database drivers, AWS and gRPC are recognised
// by their methods.
package failure
