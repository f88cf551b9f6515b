package failure

// summary is what one walk through an error finds out.
type summary struct {
	class    Class
	code     string      // the heaviest code, "" if there is none
	typeName string      // of the innermost error whose type says something
	panicked *PanicError // the first in the tree, nil if there is none
}

// inspect reads err, which is not nil.
func inspect(err error) summary {
	var (
		s                       summary
		stated                  Class
		classWeight, codeWeight weight
		named                   bool // typeName is of a type that says something
		done                    bool // and of the innermost one
		last                    = -1 // depth of the error before
	)
	for n := range nodes(err) {
		switch e := n.err.(type) { //nolint:errorlint // each link of the chain is read on its own
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
			f := r.safely(n.err)
			if f.class != "" && f.weight > classWeight {
				s.class, classWeight = f.class, f.weight
			}
			if f.code != "" && f.weight > codeWeight {
				s.code, codeWeight = f.code, f.weight
			}
		}
		// The first branch in which a type says something is the one that counts; it
		// ends where the depth grows no more.
		done = done || named && n.depth <= last
		last = n.depth
		if !done && (!n.kind.generic || !named) {
			s.typeName, named = n.kind.name, !n.kind.generic
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

// safely reads err; an error whose methods panic says nothing.
func (r *rule) safely(err error) (f finding) {
	defer guard()
	return r.read(err)
}

// errorType is the answer of ErrorType.
func (s *summary) errorType() string {
	if s.code != "" {
		return s.code
	}
	return s.typeName
}

// ErrorType names err for OpenTelemetry's attribute error.type, "" for nil. It
// has few distinct values, none longer than 128 bytes, and is the same in every
// run: the code that a service or the kernel gave, if there is one ("40001" for
// a SQLSTATE, "mysql_1213", "ThrottlingException" for AWS, "UNAVAILABLE" for
// gRPC, "ECONNREFUSED" for an errno, "503" for an HTTP status), or what an error
// with a method ErrorType() string calls itself. Else it is the Go type of the
// innermost error that says something by its type, which those made by package
// errors, by fmt.Errorf and by this module's own wrappers do not. Of joined
// errors the first branch with such a type counts.
func ErrorType(err error) string {
	if err == nil {
		return ""
	}
	s := inspect(err)
	return s.errorType()
}
