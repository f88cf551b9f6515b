package failure

// Class says what kind of failure an error is. The set is closed: a policy, a
// metric and a dead letter all speak of these and no others. The zero Class ""
// is not one of them: it stands for no failure.
type Class string

// The classes, in the order in which documentation lists them.
const (
	// ClassFormat: the message does not decode, or its schema version is unknown.
	ClassFormat Class = "format"
	// ClassDependency: a service outside of this process failed.
	ClassDependency Class = "dependency"
	// ClassData: a condition of the data forbids the work: the order is already
	// cancelled.
	ClassData Class = "data"
	// ClassResource: something shared ran out or is taken: a lock wait, a deadlock,
	// a connection pool, a quota.
	ClassResource Class = "resource"
	// ClassTimeout: the handler did not end in its time.
	ClassTimeout Class = "timeout"
	// ClassBug: the handler panicked.
	ClassBug Class = "bug"
	// ClassCrash: the process died while handling it, again and again.
	ClassCrash Class = "crash"
	// ClassUnclassified: nothing is known of the error.
	ClassUnclassified Class = "unclassified"
)

// Classes returns the closed set in a fixed order. The slice is the caller's.
func Classes() []Class {
	return []Class{
		ClassFormat, ClassDependency, ClassData, ClassResource,
		ClassTimeout, ClassBug, ClassCrash, ClassUnclassified,
	}
}

// Valid reports whether c is in the closed set. "" is not.
func (c Class) Valid() bool {
	switch c {
	case ClassFormat, ClassDependency, ClassData, ClassResource,
		ClassTimeout, ClassBug, ClassCrash, ClassUnclassified:
		return true
	default:
		return false
	}
}

// ParseClass returns the class of that name, and whether there is one. Names are
// in lower case, as [Classes] has them.
func ParseClass(name string) (Class, bool) {
	if c := Class(name); c.Valid() {
		return c, true
	}
	return "", false
}

// orUnclassified returns c if it is in the set.
func (c Class) orUnclassified() Class {
	if c.Valid() {
		return c
	}
	return ClassUnclassified
}
