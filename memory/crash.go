package memory

import (
	"fmt"
	"time"

	"github.com/anyqueue/anyqueue/failure"
)

// crashRecord says that a message met its delivery limit. What earlier attempts
// left in the record is kept.
func crashRecord(queue string, e *entry, limit int) *failure.Record {
	now := time.Now().UTC()
	var r failure.Record
	if e.failure != nil {
		r = *e.failure
	}
	r.Version = 1
	r.Class = failure.ClassCrash
	r.Fingerprint = "delivery-limit"
	r.Chain = []failure.Cause{{
		Type:    "memory.DeliveryLimit",
		Message: fmt.Sprintf("delivered %d times without success; the queue's DeliveryLimit is %d", e.deliveries, limit),
	}}
	r.Stack = ""
	r.Source = queue
	if r.First.IsZero() {
		r.First = now
	}
	r.Last = now
	return &r
}
