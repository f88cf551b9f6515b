package middleware

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/runtime"
)

// faults collects what is wrong with the fields of an options struct.
type faults []error

// check notes a fault in field unless ok. value is nil when none was given.
func (f *faults) check(ok bool, field string, value any, problem string) {
	if !ok {
		*f = append(*f, &broker.FieldError{Field: field, Value: value, Problem: problem})
	}
}

func (f faults) err() error { return errors.Join(f...) }

// release is [runtime.Release] for a reason that is an error.
func release(after time.Duration, reason error) error {
	return &runtime.Outcome{Action: broker.Release, After: max(after, 0), Err: reason}
}

// spread returns d plus a random part of up to a tenth, so that messages that
// wait for the same thing do not all come back in the same moment.
func spread(d time.Duration) time.Duration {
	return d + between(0, d/10)
}

// between returns a random duration from low to high.
func between(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + rand.N(high-low+1)
}
