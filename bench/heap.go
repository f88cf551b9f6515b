package bench

import goruntime "runtime"

// HoldHeap keeps mib MiB of heap alive until release is called, so that garbage
// is collected as often as in a program of that size. A process that holds
// nothing but a benchmark collects hundreds of times a second, and that is then
// most of what is measured of everything that allocates.
func HoldHeap(mib int) (release func()) {
	ballast := make([]byte, mib<<20)
	return func() { goruntime.KeepAlive(ballast) }
}
