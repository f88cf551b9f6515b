package failure

import "reflect"

// Classify returns the class of err, "" for nil.
//
// What somebody stated with [Format], [Dependency] and the others counts; of
// several statements the outermost. Without one, a [*PanicError] anywhere in err
// makes it a bug. Else rules read every error that err wraps or joins:
//
//	format      syntax and type errors of encoding/json and encoding/xml; corrupt
//	            base64, base32 and hex
//	dependency  network operations, DNS, TLS and certificates, HTTP requests; lost
//	            database connections; HTTP status 5xx; gRPC UNAVAILABLE; refused
//	            credentials
//	data        values and constraints that a database refuses; HTTP status 4xx;
//	            gRPC INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS,
//	            FAILED_PRECONDITION, OUT_OF_RANGE
//	resource    database deadlocks, lock waits, too many connections; AWS
//	            throttling; HTTP status 429; gRPC RESOURCE_EXHAUSTED, ABORTED; disk,
//	            memory, file handles or ports used up
//	timeout     context.DeadlineExceeded and os.ErrDeadlineExceeded on their own;
//	            statements that a database ended for their time; gRPC
//	            DEADLINE_EXCEEDED
//	bug         SQL that the database does not understand
//
// and all others are unclassified.
//
// A deadline that ended a network operation (a net.Error, or what a *url.Error
// or *net.OpError holds) is a failure of the dependency that was too slow. An
// operation that was cancelled is nobody's failure and stays unclassified.
// Credentials that a service refuses (HTTP status 401 and 403, say) are of class
// dependency although the request is at fault: they stop every message, and none
// of them should be dead-lettered for it.
//
// Where several rules apply, the code that a service gave (SQLSTATE, MySQL, AWS,
// gRPC) and an exhausted local resource count before an HTTP status and before
// what only says where an error came from; of equals, the first in the order of
// errors.As. Of one error 256 links and branches are looked at, at most 64 deep.
func Classify(err error) Class {
	if err == nil {
		return ""
	}
	return inspect(err).class
}

// weight ranks the findings in one error: the heaviest counts.
type weight uint8

const (
	// general: where the error came from, such as a network operation.
	general weight = iota + 1
	// specific: what a service or the kernel answered, such as a SQLSTATE.
	specific
)

// finding is what a rule read from one error. The zero finding is nothing.
type finding struct {
	class  Class  // "" where a code says nothing about the class
	code   string // a stable code for ErrorType, "" if there is none
	weight weight
}

// rule reads the errors of some types.
type rule struct {
	reads func(reflect.Type) bool
	read  func(error) finding // may panic on a hostile error
}

// rules is the table of automatic classification; see the files classify_*.go.
// The order only matters within one error, where the first of equals counts.
var rules []rule

// The table is filled here because some rules walk through errors themselves,
// for which they need the table.
func init() {
	for _, some := range [][]rule{formatRules, networkRules, errnoRules, databaseRules, serviceRules} {
		rules = append(rules, some...)
	}
}

// is matches one type.
func is[T error](t reflect.Type) bool { return t == reflect.TypeFor[T]() }

// has matches every type with the methods of interface I.
func has[I any](t reflect.Type) bool { return t.Implements(reflect.TypeFor[I]()) }

// isTypeOf matches the type of a sentinel.
func isTypeOf(sentinel error) func(reflect.Type) bool {
	want := reflect.TypeOf(sentinel)
	return func(t reflect.Type) bool { return t == want }
}

// always takes the type as proof of the class.
func always(c Class) func(error) finding {
	return func(error) finding { return finding{class: c, weight: general} }
}

// only reads one sentinel. It is given errors of the sentinel's type alone, so
// that comparing them cannot panic.
func only(sentinel error, c Class) func(error) finding {
	return func(err error) finding {
		if err != sentinel { //nolint:errorlint // each link of the chain is read on its own
			return finding{}
		}
		return finding{class: c, weight: general}
	}
}
