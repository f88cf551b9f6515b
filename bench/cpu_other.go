//go:build !unix

package bench

import "time"

// cpuTime is unknown here: the report then has wall time and allocations only.
func cpuTime() time.Duration { return 0 }
