package failure

import "strings"

// Placeholders. Whatever can be an id gets the same one, because an id that
// mixes digits and letters has by chance sometimes only digits.
const (
	anID      = "#"
	aText     = "<text>"
	aPath     = "<path>"
	aTime     = "<time>"
	aDuration = "<duration>"
	anEmail   = "<email>"
	anAddress = "<address>"
)

const (
	maxNormal  = 1 << 10 // bytes of normalised text, and one word more
	quotes     = "\"'`"
	delimiters = "()[]{}<>,;=|&$%*!#^"
	trailing   = ".:?,;" // punctuation after a word
)

// normalize replaces what varies in a message by placeholders, so that two
// messages of the same failure become equal. It reads each byte a bounded number
// of times and returns about 1 KiB at most.
func normalize(s string) string {
	n := normalizer{in: s}
	for n.at < len(s) && len(n.out) < maxNormal {
		n.step()
	}
	return strings.TrimSpace(string(n.out))
}

type normalizer struct {
	in       string
	at       int
	out      []byte
	unclosed string // quotes of which no closing one follows
}

// step consumes one blank, quoted text, delimiter or word.
func (n *normalizer) step() {
	c := n.in[n.at]
	rest := n.in[n.at:]
	switch {
	case c <= ' ':
		if len(n.out) > 0 && n.out[len(n.out)-1] != ' ' {
			n.out = append(n.out, ' ')
		}
		n.at++
	case strings.IndexByte(quotes, c) >= 0:
		if end := n.quoted(); end > 0 {
			n.placeholder(aText)
			n.at = end
			return
		}
		n.literal(1)
	case c == '[':
		if length := bracketedAddress(rest); length > 0 {
			n.placeholder(anAddress)
			n.at += length
			return
		}
		n.literal(1)
	case strings.HasPrefix(rest, "->"):
		n.literal(2)
	case strings.IndexByte(delimiters, c) >= 0:
		n.literal(1)
	default:
		end := wordEnd(rest)
		word := strings.TrimRight(rest[:end], trailing)
		if word == "" {
			n.literal(end)
			return
		}
		n.word(word)
		n.at += len(word)
		n.literal(end - len(word))
	}
}

// literal copies bytes of the input.
func (n *normalizer) literal(length int) {
	n.out = append(n.out, n.in[n.at:n.at+length]...)
	n.at += length
}

// placeholder appends p. One that repeats the last, as in a list, adds nothing.
func (n *normalizer) placeholder(p string) {
	out := string(n.out[max(0, len(n.out)-len(p)-2):])
	for _, separator := range []string{"", " ", ",", ", "} {
		if strings.HasSuffix(out, p+separator) {
			n.out = n.out[:len(n.out)-len(separator)]
			return
		}
	}
	n.out = append(n.out, p...)
}

// quoted returns the end of the quoted text that begins here, 0 if none does: an
// apostrophe follows a letter, and a quote may have no other end.
func (n *normalizer) quoted() int {
	quote := n.in[n.at]
	if quote == '\'' && n.at > 0 && isWordByte(n.in[n.at-1]) || strings.IndexByte(n.unclosed, quote) >= 0 {
		return 0
	}
	for i := n.at + 1; i < len(n.in); i++ {
		switch {
		case n.in[i] == '\\' && quote != '`':
			i++
		case n.in[i] == quote && (i+1 == len(n.in) || !isWordByte(n.in[i+1])):
			return i + 1
		}
	}
	n.unclosed += string(quote) // later ones would look in vain as well
	return 0
}

// wordEnd returns the length of the word that s begins with. A URL goes on over
// most delimiters.
func wordEnd(s string) int {
	ends := " \t\r\n" + quotes + delimiters
	if isURL(s) {
		ends = " \t\r\n<>)}" + quotes
	}
	for i := range len(s) {
		if s[i] < ' ' || strings.IndexByte(ends, s[i]) >= 0 || strings.HasPrefix(s[i:], "->") {
			return i
		}
	}
	return len(s)
}

// word appends a word that has no blank, quote or delimiter in it.
func (n *normalizer) word(w string) {
	switch {
	case isURL(w):
		n.url(w)
	case isEmail(w):
		n.placeholder(anEmail)
	case isPath(w):
		n.placeholder(aPath)
	case isNumber(w):
		n.placeholder(anID)
	case isTime(w):
		n.placeholder(aTime)
	case isDuration(w):
		n.placeholder(aDuration)
	case isAddress(w):
		n.placeholder(anAddress)
	case isOpaque(w):
		n.placeholder(anID)
	default:
		n.parts(w)
	}
}

// url keeps the scheme and the host, which tell dependencies apart.
func (n *normalizer) url(w string) {
	scheme, rest, _ := strings.Cut(w, "://")
	n.out = append(n.out, scheme+"://"...)
	host := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host, rest = rest[:i], rest[i:]
	} else {
		rest = ""
	}
	host = host[strings.LastIndexByte(host, '@')+1:]
	if isAddress(host) || bracketedAddress(host) > 0 {
		n.placeholder(anAddress)
	} else {
		host, _, _ = strings.Cut(host, ":")
		n.parts(host)
	}
	if len(rest) > 1 {
		n.placeholder(aPath)
	}
}

// parts appends a word piece by piece, with ids in it replaced.
func (n *normalizer) parts(w string) {
	for len(w) > 0 {
		if len(w) >= uuidLength && isUUID(w[:uuidLength]) && (len(w) == uuidLength || !isWordByte(w[uuidLength])) {
			n.placeholder(anID)
			w = w[uuidLength:]
			continue
		}
		end := 0
		for end < len(w) && isWordByte(w[end]) {
			end++
		}
		n.out = append(n.out, withoutID(w[:end])...)
		if end < len(w) {
			n.out = append(n.out, w[end])
			end++
		}
		w = w[end:]
	}
}

// withoutID replaces what looks like an id in a run of letters and digits.
func withoutID(w string) string {
	digits, hexs, runs := 0, 0, 0
	first := -1 // where the second run begins
	for i := range len(w) {
		c := w[i]
		if isDigit(c) {
			digits++
		}
		if isHex(c) {
			hexs++
		}
		if i == 0 || isDigit(c) != isDigit(w[i-1]) {
			runs++
			if runs == 2 {
				first = i
			}
		}
	}
	isAllHex := hexs == len(w)
	switch {
	case digits == 0 && !(isAllHex && len(w) >= 8):
		return w // a word
	case digits == len(w), runs > 2, isAllHex && len(w) >= 6:
		return anID
	case strings.HasPrefix(w, "0x"):
		return anID
	case isDigit(w[0]):
		return anID + w[first:] // a number with a unit
	default:
		return w[:first] + anID // a name with a number
	}
}
