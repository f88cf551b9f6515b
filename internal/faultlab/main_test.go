package faultlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if RunChild(map[string]Program{
		"greet":  greet,
		"fail":   func(context.Context) error { return errors.New("no luck") },
		"ticker": ticker,
		"parent": parent,
	}) {
		return
	}
	goleak.VerifyTestMain(m)
}

// greet prints a variable of its environment and ends.
func greet(context.Context) error {
	fmt.Println("hello", os.Getenv("FAULTLAB_TEST_NAME"))
	return nil
}

// ticker prints numbers until it is asked to stop, and then a farewell.
func ticker(ctx context.Context) error {
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			fmt.Println("stopped:", context.Cause(ctx))
			return nil
		case <-time.After(2 * time.Millisecond):
			fmt.Println(i)
		}
	}
}

// patience bounds what should come at once.
const patience = 5 * time.Second

// within returns a context that ends after patience.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
