package failure

// Class says what kind of failure an error is. The set is closed: a policy, a
// metric and a dead letter all speak of these and no others.
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

// Classes returns the closed set in a fixed order.
func Classes() []Class {
	return []Class{
		ClassFormat, ClassDependency, ClassData, ClassResource,
		ClassTimeout, ClassBug, ClassCrash, ClassUnclassified,
	}
}
