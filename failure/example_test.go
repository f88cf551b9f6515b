package failure_test

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/anyqueue/anyqueue/failure"
)

// A handler that knows what an error means says so; other errors are
// classified by rules.
func ExampleClassify() {
	pay := func(cancelled bool) error {
		if cancelled {
			return failure.Data(errors.New("order is cancelled"))
		}
		return fmt.Errorf("book refund: %w", sqlError("40P01")) // a deadlock, from the driver
	}
	fmt.Println(failure.Classify(pay(true)))
	fmt.Println(failure.Classify(pay(false)))
	fmt.Println(failure.Classify(sql.ErrNoRows))
	// Output:
	// data
	// resource
	// unclassified
}

func ExampleFingerprint() {
	a := failure.Fingerprint(failure.ClassData, errors.New("order 17 was cancelled at 2025-06-01T12:00:00Z"))
	b := failure.Fingerprint(failure.ClassData, errors.New("order 4711 was cancelled at 2025-06-02T08:30:00Z"))
	c := failure.Fingerprint(failure.ClassData, errors.New("order 17 was refunded at 2025-06-01T12:00:00Z"))
	fmt.Println(a == b, a == c)
	// Output:
	// true false
}

func ExampleNext() {
	at := time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)
	first := failure.Next(nil, failure.Observation{Err: sqlError("40P01"), Attempt: 1, At: at})
	second := failure.Next(first, failure.Observation{
		Err: failure.DependencyOf("payments", errors.New("payments is down")), Attempt: 2, At: at.Add(time.Minute),
	})
	for _, a := range second.Attempts {
		fmt.Printf("%d %s %s: %s\n", a.N, a.At.Format(time.TimeOnly), a.Class, a.Error)
	}
	fmt.Println(second.Class, second.Count, second.Message())
	// Output:
	// 1 12:00:00 resource: ERROR (SQLSTATE 40P01)
	// 2 12:01:00 dependency: payments is down
	// dependency 2 payments is down
}
