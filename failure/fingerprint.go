package failure

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
)

// Fingerprint returns 16 hex digits that are the same for the same failure.
func Fingerprint(c Class, err error) string {
	s := summarize(err)
	h := sha256.New()
	for _, part := range []string{string(c), s.errorType(), normalize(textOf(err, maxTextBytes))} {
		_, _ = io.WriteString(h, part+"\x00")
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
