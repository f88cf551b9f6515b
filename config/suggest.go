package config

import (
	"cmp"
	"strings"
)

// nearest returns the word that a writer of got most likely meant, "" when none
// is close. Letter case, hyphens and underscores count for nothing, so that
// maxInFlight finds max_in_flight.
func nearest(got string, words []string) string {
	const longest = 64 // what is longer was not a slip of the finger
	if len(got) > longest {
		return ""
	}
	plain := strings.NewReplacer("_", "", "-", "")
	norm := func(s string) []rune { return []rune(plain.Replace(strings.ToLower(s))) }

	a := norm(got)
	best, bestDistance := "", max(1, len(a)/3)+1
	for _, w := range words {
		if d := distance(a, norm(w)); d < bestDistance || d == bestDistance && best != "" && cmp.Less(w, best) {
			best, bestDistance = w, d
		}
	}
	return best
}

// distance is the number of single characters to insert, delete, replace or
// swap with their neighbour to turn a into b (optimal string alignment).
func distance(a, b []rune) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
