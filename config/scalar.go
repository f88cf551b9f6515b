package config

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The forms of numbers with units. The JSON Schema holds the same patterns, so
// that an editor accepts exactly what is accepted here (bounds apart).
const (
	integerPattern  = `^-?(0|[1-9][0-9]*)$`
	lengthPattern   = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d))+$`
	durationPattern = `^-?([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d))+$`
	sizePattern     = `^[0-9]+ ?(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$`
)

var (
	isInteger    = regexp.MustCompile(integerPattern)
	isDuration   = regexp.MustCompile(durationPattern)
	durationPart = regexp.MustCompile(`([0-9.]+)([a-zµ]+)`)
	isSize       = regexp.MustCompile(sizePattern)
	isNumber     = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)
)

// parseDuration reads a duration with units; a day is 24 hours.
func parseDuration(s string) (time.Duration, error) {
	if isNumber.MatchString(s) {
		return 0, fmt.Errorf("has no unit; write %ss for seconds, or another of the units ns, us, ms, s, m, h, d", s)
	}
	if !isDuration.MatchString(s) {
		return 0, errors.New("is not a duration; write numbers with units and without spaces, such as 500ms, 1h30m or 7d")
	}
	digits, negative := strings.CutPrefix(s, "-")
	var sum int64 // nanoseconds
	for _, part := range durationPart.FindAllStringSubmatch(digits, -1) {
		number, unit, scale := part[1], part[2], int64(1)
		if unit == "d" {
			unit, scale = "h", 24
		}
		d, err := time.ParseDuration(number + unit)
		if err != nil || int64(d) > (math.MaxInt64-sum)/scale {
			return 0, errors.New("is too long; the longest duration is about 292 years")
		}
		sum += int64(d) * scale
	}
	if negative {
		sum = -sum
	}
	return time.Duration(sum), nil
}

// units of sizes: the decimal ones by 1000, the binary ones by 1024.
var units = map[string]uint64{
	"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// parseSize reads a number of bytes, plain or with a unit.
func parseSize(s string) (int64, error) {
	if isInteger.MatchString(s) {
		return parseInt(s)
	}
	if !isSize.MatchString(s) {
		return 0, errors.New("is not a size; write a whole number of bytes, or one with a unit: 512KB, 64MiB (B, KB, MB, GB, TB by 1000; KiB, MiB, GiB, TiB by 1024)")
	}
	i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	n, err := strconv.ParseUint(s[:i], 10, 64)
	unit := units[strings.TrimPrefix(s[i:], " ")]
	if err != nil || n > math.MaxInt64/unit {
		return 0, errors.New("is too large for a size")
	}
	return int64(n * unit), nil
}

// parseInt reads a whole number. Hexadecimal, octal, underscores and leading
// zeros are refused: versions of YAML disagree about what they mean.
func parseInt(s string) (int64, error) {
	if !isInteger.MatchString(s) {
		return 0, errors.New("is not a whole number; write decimal digits alone")
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, errors.New("is too large for a whole number")
	}
	return n, nil
}

// parseFloat reads a number. Infinity and NaN are refused: no setting means
// anything by them.
func parseFloat(s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) || strings.ContainsAny(s, "_xXpP") {
		return 0, errors.New("is not a number; write one such as 2 or 1.5")
	}
	return f, nil
}
