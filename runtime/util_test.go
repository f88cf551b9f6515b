package runtime_test

import (
	goruntime "runtime"
	"slices"
)

func equal(a, b []string) bool { return slices.Equal(a, b) }

func goexit() { goruntime.Goexit() }
