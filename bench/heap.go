package bench

// ballast is what HoldHeap holds.
var ballast []byte

// HoldHeap keeps mib MiB of heap alive, so that garbage is collected as often as
// in a program of that size. A process that holds nothing but a benchmark
// collects hundreds of times a second, and that is then most of what is measured
// of everything that allocates.
func HoldHeap(mib int) { ballast = make([]byte, mib<<20) }
