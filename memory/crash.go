package memory

import (
	"fmt"
	"time"

	"github.com/anyqueue/anyqueue/failure"
)

// deliveryLimitError is the failure of a message that was delivered as often as
// it may be.
type deliveryLimitError struct {
	queue             string
	deliveries, limit int
}

func (e *deliveryLimitError) Error() string {
	return fmt.Sprintf("delivered %d times without success; DeliveryLimit of queue %q is %d", e.deliveries, e.queue, e.limit)
}

// crashRecord is the record of e when it meets its limit. It follows what
// earlier attempts left.
func crashRecord(queue string, e *entry, limit int) *failure.Record {
	return failure.Next(e.failure, failure.Observation{
		Err:     &deliveryLimitError{queue, e.deliveries, limit},
		Class:   failure.ClassCrash,
		Attempt: e.attempt,
		At:      time.Now(),
		Source:  queue,
	})
}
