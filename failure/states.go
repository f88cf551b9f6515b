package failure

// statement is an error with the class that somebody stated for it.
type statement struct {
	class      Class
	dependency string // name given to DependencyOf
	err        error  // never nil
}

func (s *statement) Error() string { return s.err.Error() }
func (s *statement) Unwrap() error { return s.err }

func state(c Class, err error) error {
	if err == nil {
		return nil
	}
	return &statement{class: c, err: err}
}

// Format states that err is of class format: the message does not decode. The
// result reads as err does and unwraps to it. As with the other constructors, a
// nil err gives nil, so that a call can stand in a return statement; and when
// an error holds several statements the outermost counts.
func Format(err error) error { return state(ClassFormat, err) }

// Dependency states that err is of class dependency: an outside service failed.
// [DependencyOf] also says which.
func Dependency(err error) error { return state(ClassDependency, err) }

// Data states that err is of class data: a condition of the data forbids the
// work, and trying again would not change it.
func Data(err error) error { return state(ClassData, err) }

// Resource states that err is of class resource: something shared ran out or is
// taken, and will be free again soon.
func Resource(err error) error { return state(ClassResource, err) }

// Timeout states that err is of class timeout: the work did not end in its time.
func Timeout(err error) error { return state(ClassTimeout, err) }

// Bug states that err is of class bug: the code is wrong, not the message.
func Bug(err error) error { return state(ClassBug, err) }

// DependencyOf is [Dependency] with the name of the service that failed, for
// whatever acts per dependency, such as a circuit breaker. Take names from a
// small fixed set ("payments"), not from the message.
func DependencyOf(name string, err error) error {
	if err == nil {
		return nil
	}
	return &statement{class: ClassDependency, dependency: name, err: err}
}

// DependencyName returns the name that the outermost [DependencyOf] in err gave,
// "" if there is none. A statement further out can still overrule the class: ask
// [Classify] as well.
func DependencyName(err error) string {
	for n := range nodes(err) {
		if s, ok := n.err.(*statement); ok && s.dependency != "" { //nolint:errorlint // each link of the chain is read on its own
			return s.dependency
		}
	}
	return ""
}
