package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/anyqueue/anyqueue/bench"
)

// spread is what several rounds gave: the median and the extremes.
type spread struct{ median, least, most float64 }

func spreadOf(values []float64) spread {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	if n == 0 {
		return spread{}
	}
	return spread{(s[(n-1)/2] + s[n/2]) / 2, s[0], s[n-1]}
}

// each is the spread of a figure over the rounds.
func (s series) each(figure func(bench.Sample) float64) spread {
	values := make([]float64, len(s))
	for i, sample := range s {
		values[i] = figure(sample)
	}
	return spreadOf(values)
}

// pairs is the spread of what combine makes of a figure of s and of other in the
// same round, so that a change of the machine's mood hits both.
func (s series) pairs(other series, figure func(bench.Sample) float64, combine func(a, b float64) float64) spread {
	values := make([]float64, min(len(s), len(other)))
	for i := range values {
		values[i] = combine(figure(s[i]), figure(other[i]))
	}
	return spreadOf(values)
}

func minus(a, b float64) float64 { return a - b }
func over(a, b float64) float64  { return a / b }

// ns writes whole nanoseconds with the extremes: "1,234 (1,100-1,400)".
func (s spread) ns() string {
	return fmt.Sprintf("%s (%s to %s)", thousands(s.median), thousands(s.least), thousands(s.most))
}

// times writes a ratio with the extremes.
func (s spread) times() string {
	return fmt.Sprintf("%.1fx (%.1f to %.1f)", s.median, s.least, s.most)
}

// thousands writes a rounded number with separators.
func thousands(v float64) string {
	digits := strconv.FormatFloat(v, 'f', 0, 64)
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	if digits == "0" {
		sign = ""
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}
