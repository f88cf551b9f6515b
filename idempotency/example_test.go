package idempotency_test

import (
	"context"
	"fmt"
	"time"

	"github.com/anyqueue/anyqueue/idempotency"
)

// One request comes three times: it fails, it succeeds, and then it is a
// duplicate that gets the first result.
func Example() {
	ctx := context.Background()
	store, err := idempotency.NewMemory(idempotency.MemoryOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}

	refund := func(pay func() (string, error)) {
		claim := idempotency.NewClaim("refund:order-42", "200 EUR")
		answer, err := store.Claim(ctx, claim, time.Minute)
		if err != nil {
			fmt.Println("not done, the store failed:", err)
			return
		}
		if answer.State != idempotency.New {
			fmt.Println(answer.State, string(answer.Result))
			return
		}
		receipt, err := pay()
		if err != nil {
			fmt.Println("failed:", err, store.Release(ctx, claim))
			return
		}
		fmt.Println("paid:", receipt, store.Complete(ctx, claim, 24*time.Hour, []byte(receipt)))
	}

	refund(func() (string, error) { return "", fmt.Errorf("payment service is down") })
	refund(func() (string, error) { return "receipt 7", nil })
	refund(func() (string, error) { return "receipt 8", nil })
	// Output:
	// failed: payment service is down <nil>
	// paid: receipt 7 <nil>
	// duplicate receipt 7
}
