// Package bench measures anyqueue's runtime on the in-memory broker beside what
// else a Go program could use: a bare channel with goroutines, and Watermill's
// gochannel with its Router. It is a module of its own so that what it compares
// with stays out of the library's go.mod.
//
// `make bench` measures everything and writes docs/benchmarks.md. The same
// pipes run under the standard harness with
//
//	go test -bench . -benchtime 100000x
//
// # Rules of the comparison
//
// All contenders are in one process and take turns, so that they share one
// machine in one state. What is measured is one run from the first publish until
// the last handler has returned: publishing is inside, making the messages is
// not. One goroutine publishes, up to Batch messages with one call where the API
// takes several, and never has more than the case's Window of messages unfinished: no
// contender gains by piling up a backlog. The handler does nothing but count.
//
// A contender that has no order by key is left out of the keyed cases, and one
// that has no limit of concurrency is measured as it is.
package bench
