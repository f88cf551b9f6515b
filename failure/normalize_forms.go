package failure

import (
	"net/netip"
	"strings"
	"time"
)

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

// isWordByte says that c is part of a word. Every byte of a rune beyond ASCII is.
func isWordByte(c byte) bool { return isDigit(c) || isLetter(c) || c >= 0x80 }

// digits returns how many digits s begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}

// isURL says that w begins like a URL: a scheme and "://".
func isURL(w string) bool {
	n := 0
	for n < len(w) && (isLetter(w[n]) || isDigit(w[n]) || w[n] == '+' || w[n] == '-' || w[n] == '.') {
		n++
	}
	return n > 0 && isLetter(w[0]) && strings.HasPrefix(w[n:], "://")
}

// isEmail says that w has the form of an e-mail address. A module with a version
// ("example.com/m@v1.2.3") has no letters at its end.
func isEmail(w string) bool {
	at := strings.LastIndexByte(w, '@')
	dot := strings.LastIndexByte(w, '.')
	if at <= 0 || dot < at+2 || len(w)-dot < 3 {
		return false
	}
	for _, c := range []byte(w[dot+1:]) {
		if !isLetter(c) && c < 0x80 {
			return false
		}
	}
	return true
}

// isPath says that w is a path of a file, or of a request.
func isPath(w string) bool {
	switch {
	case len(w) < 2:
		return false
	case w[0] == '/', strings.HasPrefix(w, "./"), strings.HasPrefix(w, "../"), strings.HasPrefix(w, "~/"):
		return true
	case strings.HasPrefix(w, `\\`), strings.HasPrefix(w, `.\`), strings.HasPrefix(w, `..\`):
		return true
	default:
		return len(w) > 2 && isLetter(w[0]) && w[1] == ':' && (w[2] == '\\' || w[2] == '/')
	}
}

// isNumber says that w is a number, a version or the like: digits with dots
// between them, a sign, an exponent.
func isNumber(w string) bool {
	w = strings.TrimLeft(w, "+-")
	n := digits(w)
	if n == 0 {
		return false
	}
	dots := 0
	for w = w[n:]; len(w) > 1 && w[0] == '.'; dots++ {
		if n = digits(w[1:]); n == 0 {
			return false
		}
		w = w[1+n:]
	}
	if dots == 3 && w == "" {
		return false // an address
	}
	if len(w) > 1 && w[0]|0x20 == 'e' {
		exponent := strings.TrimLeft(w[1:], "+-")
		n = digits(exponent)
		return n > 0 && n == len(exponent)
	}
	return w == ""
}

// isTime says that w is a date, a time of day or both, as RFC 3339, package log
// and time.Time.String have them.
func isTime(w string) bool {
	if rest, ok := cutForm(w, "0000-00-00"); ok {
		w = rest
	} else if rest, ok := cutForm(w, "0000/00/00"); ok {
		w = rest
	} else {
		return isClock(w)
	}
	return w == "" || (w[0]|0x20 == 't' || w[0] == '_') && isClock(w[1:])
}

// isClock says that w is hours, minutes and seconds, with or without a fraction
// and a zone.
func isClock(w string) bool {
	w, ok := cutForm(w, "00:00:00")
	if !ok {
		return false
	}
	if len(w) > 1 && (w[0] == '.' || w[0] == ',') {
		w = w[1+digits(w[1:]):]
	}
	if w == "" || w == "Z" || w == "z" {
		return true
	}
	if w[0] != '+' && w[0] != '-' {
		return false
	}
	for _, zone := range []string{"00:00", "0000", "00"} {
		if rest, ok := cutForm(w[1:], zone); ok && rest == "" {
			return true
		}
	}
	return false
}

// cutForm returns w without what fits form, in which 0 stands for any digit.
func cutForm(w, form string) (rest string, ok bool) {
	if len(w) < len(form) {
		return w, false
	}
	for i := range len(form) {
		if form[i] == '0' && !isDigit(w[i]) || form[i] != '0' && form[i] != w[i] {
			return w, false
		}
	}
	return w[len(form):], true
}

// isDuration says that w is a time.Duration as it prints itself.
func isDuration(w string) bool {
	if c := w[len(w)-1]; c != 's' && c != 'm' && c != 'h' || digits(strings.TrimLeft(w, "+-")) == 0 {
		return false
	}
	_, err := time.ParseDuration(w)
	return err == nil
}

// isAddress says that w is an IP address, with or without a port.
func isAddress(w string) bool {
	if strings.Count(w, ".") < 3 && strings.Count(w, ":") < 2 {
		return false
	}
	if _, err := netip.ParseAddr(w); err == nil {
		return true
	}
	_, err := netip.ParseAddrPort(w)
	return err == nil
}

// bracketedAddress returns the length of "[::1]" or "[::1]:8080" at the
// beginning of s, 0 if there is none.
func bracketedAddress(s string) int {
	const most = len("[0000:0000:0000:0000:0000:ffff:255.255.255.255%interface]")
	end := strings.IndexByte(s[:min(len(s), most)], ']')
	if end < 0 || !strings.Contains(s[:end], ":") {
		return 0
	}
	if _, err := netip.ParseAddr(s[1:end]); err != nil {
		return 0
	}
	end++
	if end < len(s) && s[end] == ':' {
		if n := digits(s[end+1:]); n > 0 {
			end += 1 + n
		}
	}
	return end
}

const uuidLength = len("00000000-0000-0000-0000-000000000000")

// isUUID says that w, of uuidLength, is a UUID.
func isUUID(w string) bool {
	for i := range len(w) {
		switch i {
		case 8, 13, 18, 23:
			if w[i] != '-' {
				return false
			}
		default:
			if !isHex(w[i]) {
				return false
			}
		}
	}
	return true
}

// isOpaque says that w is a long token: base64, a receipt handle. Names are
// shorter, or have no digits, or are of one case.
func isOpaque(w string) bool {
	const least = 20
	if len(w) < least {
		return false
	}
	var digit, upper, lower bool
	for _, c := range []byte(w) {
		switch {
		case isDigit(c):
			digit = true
		case 'a' <= c && c <= 'z':
			lower = true
		case 'A' <= c && c <= 'Z':
			upper = true
		case c == '+', c == '/', c == '_', c == '-':
		default:
			return false
		}
	}
	return digit && upper && lower
}
