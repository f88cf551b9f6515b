// Package archtest holds the tests of the repository as a whole: which package
// may import which, that the public API is documented, that files stay small.
// It exports nothing.
package archtest
