package failure

import (
	"strings"
	"unicode/utf8"
)

const ellipsis = "…"

// capped returns s as valid UTF-8 of at most limit bytes. What is cut ends with
// an ellipsis, and does not keep the long text alive. Applied twice it changes
// nothing more. limit is at least len(ellipsis).
func capped(s string, limit int) string {
	if len(s) <= limit && utf8.ValidString(s) {
		return s
	}
	// More than limit bytes of the input never reach the output; utf8.UTFMax more
	// keep a rune at the edge whole, and tell that there was more.
	whole := len(s) <= limit
	s = strings.ToValidUTF8(s[:min(len(s), limit+utf8.UTFMax)], string(utf8.RuneError))
	if whole && len(s) <= limit {
		return s
	}
	end := limit - len(ellipsis)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}

// textOf returns err's message, of at most limit bytes.
func textOf(err error, limit int) (text string) {
	if err == nil {
		return ""
	}
	text = "(no message: the error's Error method panicked)"
	defer guard()
	return capped(err.Error(), limit)
}
