package failure

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strings"
)

// Fingerprint returns 16 hex digits that are the same for the same failure, in
// every run, build and process: a hash of the class, of [ErrorType], of err's
// message without what varies, and for a panic of the functions that panicked.
//
// What varies are numbers and ids (hexadecimal, UUIDs, ULIDs and the like),
// quoted texts, network addresses and ports, times, durations, e-mail addresses
// and paths. Lists of them count as one, however long.
//
// Of a panic's stack the three functions closest to it count that belong
// neither to the standard library nor to this module; without file, line or
// arguments, so that the fingerprint survives a change elsewhere in the file.
//
// It groups and is no proof: two failures can share a message. err may be nil. A
// later version of this module may compute it differently, and says so in its
// list of changes.
func Fingerprint(c Class, err error) string {
	if err == nil {
		return fingerprint(c, &summary{}, "")
	}
	s := inspect(err)
	return fingerprint(c, &s, textOf(err, maxTextBytes))
}

func fingerprint(c Class, s *summary, message string) string {
	parts := []string{string(c), s.errorType(), normalize(message)}
	if s.panicked != nil {
		parts = append(parts, topFrames(string(s.panicked.Stack))...)
	}
	h := sha256.New()
	for _, part := range parts {
		_, _ = io.WriteString(h, part) // a hash returns no error
		_, _ = h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// maxFrames is how many functions of a panic's stack count.
const maxFrames = 3

// topFrames returns the functions on top of a printed stack that belong to the
// application. A panic that never left this module has none: then its own count.
func topFrames(stack string) []string {
	var theirs, ours []string
	for line := range strings.Lines(stack) {
		if strings.HasPrefix(line, "created by ") {
			break
		}
		// The arguments hold no parenthesis; a method's name does: pkg.(*T).Method(...)
		end := strings.LastIndexByte(line, '(')
		if end <= 0 || line[0] == '\t' {
			continue
		}
		name := line[:end]
		switch {
		case isStandard(name):
		case isOurs(name):
			ours = append(ours, name)
		default:
			theirs = append(theirs, name)
		}
		if len(theirs) == maxFrames {
			break
		}
	}
	if len(theirs) == 0 {
		theirs = ours
	}
	return theirs[:min(len(theirs), maxFrames)]
}

// isOurs says that a function belongs to this module.
func isOurs(function string) bool {
	rest, ok := strings.CutPrefix(function, modulePath)
	return ok && rest != "" && (rest[0] == '/' || rest[0] == '.')
}

// isStandard says that a function belongs to the standard library or is built
// in. Paths of modules may lack a dot as well, so that only a list can tell.
func isStandard(function string) bool {
	first := function
	if i := strings.IndexAny(function, "/."); i >= 0 {
		first = function[:i]
	}
	_, found := slices.BinarySearch(standardPackages, first)
	return found
}

// standardPackages are the first elements of the standard library's import
// paths, and panic, in order.
var standardPackages = []string{
	"archive", "arena", "bufio", "builtin", "bytes", "cmp", "compress", "container", "context", "crypto",
	"database", "debug", "embed", "encoding", "errors", "expvar", "flag", "fmt", "go", "hash", "html",
	"image", "index", "internal", "io", "iter", "log", "maps", "math", "mime", "net", "os", "panic",
	"path", "plugin", "reflect", "regexp", "runtime", "simd", "slices", "sort", "strconv", "strings",
	"structs", "sync", "syscall", "testing", "text", "time", "unicode", "unique", "unsafe", "vendor", "weak",
}
