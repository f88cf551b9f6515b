package telemetry

import "github.com/anyqueue/anyqueue/failure"

// NumClasses is the number of failure classes.
const NumClasses = 8

// ByClass holds one total per failure class, at the index that [ClassIndex]
// gives.
type ByClass [NumClasses]int64

// ClassIndex returns the place of a class in [failure.Classes]. A class that is
// not of the set counts as unclassified.
func ClassIndex(class failure.Class) int {
	switch class {
	case failure.ClassFormat:
		return 0
	case failure.ClassDependency:
		return 1
	case failure.ClassData:
		return 2
	case failure.ClassResource:
		return 3
	case failure.ClassTimeout:
		return 4
	case failure.ClassBug:
		return 5
	case failure.ClassCrash:
		return 6
	default:
		return 7
	}
}

func knownClass(class failure.Class) failure.Class {
	return failure.Classes()[ClassIndex(class)]
}

// Snapshot is a consumer's ledger and state at one moment. Take it under one
// lock, so that its parts agree: the metrics then balance as the ledger does,
// received = acked + retried + dead-lettered + released + lost + in flight.
type Snapshot struct {
	// Active handlers are running, Buffered messages wait for a worker, Held ones
	// wait in the process for their next attempt. What is in flight beyond these
	// waits to be settled.
	Active, Buffered, Held int64
	// Limit is how many handlers may run at once; 0 when there is no such number,
	// then limit and utilization are absent.
	Limit int64

	// Received counts deliveries, Acked, Released and Lost how they ended. Totals
	// since the consumer began; they never fall.
	Received, Acked, Released, Lost int64
	// Retried and DeadLettered are such totals by class of the last failure.
	// Retried counts settlements; what is held is still in flight.
	Retried, DeadLettered ByClass

	// Status is one of the Status constants; "" when there is none to report.
	Status string
}
