package archtest

import (
	"fmt"
	"strings"
	"testing"
)

// maxLines keeps a file to one idea. Split what grows beyond it by idea, not by
// size.
const maxLines = 600

// No Go file, tests included, is longer than maxLines.
func TestFilesStaySmall(t *testing.T) {
	want(t, sizeFaults(sources(t)), nil)
}

// A file of one line too many is detected, one at the limit is not.
func TestLongFileIsDetected(t *testing.T) {
	want(t, sizeFaults([]source{
		{"limit.go", strings.Repeat("\n", maxLines)},
		{"long.go", strings.Repeat("\n", maxLines+1)},
	}), []string{"long.go has 601 lines, at most 600 are allowed"})
}

func sizeFaults(files []source) []string {
	var faults []string
	for _, s := range files {
		if n := strings.Count(s.text, "\n"); n > maxLines {
			faults = append(faults, fmt.Sprintf("%s has %d lines, at most %d are allowed", s.path, n, maxLines))
		}
	}
	return faults
}
