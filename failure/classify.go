package failure

import (
	"reflect"
)

// Classify returns the class of err, "" for nil.
//
// What somebody stated with [Format], [Dependency] and the others counts; of
// several statements the outermost. Without one, a [*PanicError] anywhere in err
// makes it a bug; else rules read every error that err wraps or joins:
//
//	format      syntax and type errors of encoding/json and encoding/xml, corrupt
//	            base64, base32 and hex
//	dependency  network operations, DNS, TLS and certificates, HTTP requests; lost
//	            database connections; HTTP status 5xx; gRPC Unavailable; refused
//	            credentials
//	resource    SQL deadlocks, lock waits and exhausted servers; throttling; HTTP
//	            status 429; gRPC ResourceExhausted and Aborted; disk, memory or
//	            file handles used up
//	timeout     context.DeadlineExceeded and os.ErrDeadlineExceeded on their own;
//	            SQL statements cancelled by the server; gRPC DeadlineExceeded
//	data        violated SQL constraints; other HTTP status 4xx; gRPC
//	            InvalidArgument, NotFound, AlreadyExists, FailedPrecondition,
//	            OutOfRange
//	bug         SQL that is wrong
//
// and everything else is unclassified. A deadline that ended a network operation
// (inside of a net.Error or url.Error) is a failure of the dependency that was
// too slow, not a timeout; a cancellation is nobody's failure and unclassified.
//
// Where several rules apply, a code that a service gave (SQLSTATE, AWS, gRPC)
// and an exhausted resource count before what only says where the error came
// from; of equals, the first in the order of errors.As.
//
// No more than 64 links inwards and 256 errors in all are looked at.
func Classify(err error) Class {
	if err == nil {
		return ""
	}
	s := summarize(err)
	return s.class
}

// weight orders findings of one error; the heaviest counts.
type weight uint8

const (
	unfound weight = iota
	// general: where the error came from, such as a network operation.
	general
	// specific: what the other side or the kernel said, such as a SQLSTATE.
	specific
)

// finding is what a rule read from an error.
type finding struct {
	class  Class  // "" when the rule knows the code but not what it means
	code   string // a stable code for ErrorType, "" if there is none
	weight weight // unfound when the rule has nothing to say
}

// rule reads errors of some types.
type rule struct {
	reads func(t reflect.Type) bool
	read  func(err error) finding
}

// rules is the table of automatic classification. The order does not matter.
// It is filled in init because rules need kinds, and kinds the table.
var rules []rule

func init() {
	for _, table := range [][]rule{formatRules, networkRules, deadlineRules, errnoRules, sqlRules, serviceRules} {
		rules = append(rules, table...)
	}
}

// is matches one type.
func is[T error](t reflect.Type) bool { return t == reflect.TypeFor[T]() }

// has matches every type with the methods of the interface I.
func has[I any](t reflect.Type) bool { return t.Implements(reflect.TypeFor[I]()) }

// always reads an error, by its type alone, as of a class.
func always(c Class) func(error) finding {
	return func(error) finding { return finding{class: c, weight: general} }
}

// summary is everything that one walk over an error's tree finds.
type summary struct {
	class    Class
	code     string
	typeName string // of the innermost error that says something
	panicked *PanicError
}

func summarize(err error) summary {
	var (
		s           summary
		stated      Class
		classWeight weight
		codeWeight  weight
		last        = -1 // depth of the node before
		firstPath   = true
	)
	for n := range nodes(err) {
		// The first path from the root to a leaf is left when the depth does not grow.
		firstPath = firstPath && n.depth > last
		last = n.depth
		if firstPath && (!n.kind.generic || s.typeName == "") {
			s.typeName = n.kind.name
		}
		switch e := n.err.(type) {
		case *statement:
			if stated == "" {
				stated = e.class
			}
		case *PanicError:
			if s.panicked == nil {
				s.panicked = e
			}
		}
		for _, r := range n.kind.rules {
			f := read(r, n.err)
			if f.class != "" && f.weight > classWeight {
				s.class, classWeight = f.class, f.weight
			}
			if f.code != "" && f.weight > codeWeight {
				s.code, codeWeight = f.code, f.weight
			}
		}
	}
	switch {
	case stated != "":
		s.class = stated
	case s.panicked != nil:
		s.class = ClassBug
	case s.class == "":
		s.class = ClassUnclassified
	}
	return s
}

func read(r *rule, err error) (f finding) {
	defer guard()
	return r.read(err)
}
