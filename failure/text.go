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
	whole := len(s) <= limit
	// What lies further on never reaches the output; utf8.UTFMax bytes more keep a
	// character at the edge whole.
	s = strings.ToValidUTF8(s[:min(len(s), limit+utf8.UTFMax)], string(utf8.RuneError))
	if whole && len(s) <= limit {
		return s
	}
	end := min(len(s), limit-len(ellipsis))
	for end < len(s) && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}

// cappedLines is capped for a text of lines: it ends with a whole one.
func cappedLines(s string, limit int) string {
	if len(s) > limit {
		if end := strings.LastIndexByte(s[:limit], '\n'); end >= 0 {
			s = strings.Clone(s[:end+1])
		}
	}
	return capped(s, limit)
}

// textOf returns err's message, of at most limit bytes; "" for nil.
func textOf(err error, limit int) (text string) {
	if err == nil {
		return ""
	}
	defer func() {
		if recover() != nil {
			text = "(no message: the error's Error method panicked)"
		}
	}()
	return capped(err.Error(), limit)
}
