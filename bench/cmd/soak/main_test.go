package main

import "testing"

// A short soak passes its own checks.
func TestShortSoakPasses(t *testing.T) {
	if err := run(t.Context(), []string{"-backlog", "20000", "-for", "1s"}); err != nil {
		t.Fatal(err)
	}
}
