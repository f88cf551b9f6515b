package idempotency

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/anyqueue/anyqueue/broker"
)

// Bounds that every store keeps.
const (
	// MaxKeyBytes is the longest key.
	MaxKeyBytes = 512
	// MaxResultBytes is the largest result. A store of marks is no place for
	// documents: keep a reference.
	MaxResultBytes = 64 << 10
)

// ErrClaimLost says that the key does not carry this claim: it was taken over
// after its lease ended, completed, released, or forgotten by the store.
var ErrClaimLost = errors.New("claim lost")

// Claim names one holder's claim on one key. It is a value: keep it and pass it
// to all calls.
type Claim struct {
	// Key identifies the work. It may hold any bytes, 1 to [MaxKeyBytes].
	Key string
	// Token identifies the holder: unique among all claims ever made, and not to
	// be guessed. The caller makes it, not the store, so that a call whose answer
	// was lost can be repeated or undone.
	Token string
	// Fingerprint identifies the payload, to notice one key with two payloads; ""
	// for no such check. Any bytes, at most 128.
	Fingerprint string
}

const (
	maxTokenBytes       = 64
	maxFingerprintBytes = 128
)

// NewClaim returns a claim on key with a token of its own. A key or fingerprint
// that is too long is replaced by its SHA-256.
func NewClaim(key, fingerprint string) Claim {
	return Claim{Key: bounded(key, MaxKeyBytes), Token: rand.Text(), Fingerprint: bounded(fingerprint, maxFingerprintBytes)}
}

func bounded(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// CheckClaim reports faults in the arguments of Claim, Extend and Release, as
// joined [*broker.FieldError]. Stores call it first; those without a lease to
// check pass a positive one.
func CheckClaim(c Claim, lease time.Duration) error {
	var errs []error
	if n := len(c.Key); n == 0 || n > MaxKeyBytes {
		errs = append(errs, &broker.FieldError{
			Field: "Claim.Key", Value: fmt.Sprintf("%d bytes", n),
			Problem: fmt.Sprintf("must have 1 to %d bytes; NewClaim shortens long ones", MaxKeyBytes),
		})
	}
	if n := len(c.Token); n == 0 || n > maxTokenBytes {
		errs = append(errs, &broker.FieldError{
			Field: "Claim.Token", Value: fmt.Sprintf("%d bytes", n),
			Problem: fmt.Sprintf("must have 1 to %d bytes; make claims with NewClaim", maxTokenBytes),
		})
	}
	if n := len(c.Fingerprint); n > maxFingerprintBytes {
		errs = append(errs, &broker.FieldError{
			Field: "Claim.Fingerprint", Value: fmt.Sprintf("%d bytes", n),
			Problem: fmt.Sprintf("must have at most %d bytes; hash the payload", maxFingerprintBytes),
		})
	}
	if lease <= 0 {
		errs = append(errs, &broker.FieldError{
			Field: "lease", Value: lease, Problem: "must be positive: a claim is held until a deadline",
		})
	}
	return errors.Join(errs...)
}

// CheckCompletion reports faults in the arguments of Complete, as joined
// [*broker.FieldError]. Stores call it first.
func CheckCompletion(c Claim, retention time.Duration, result []byte) error {
	var errs []error
	if err := CheckClaim(c, 1); err != nil {
		errs = append(errs, err)
	}
	if retention <= 0 {
		errs = append(errs, &broker.FieldError{
			Field: "retention", Value: retention,
			Problem: "must be positive: say for how long duplicates are to be recognised",
		})
	}
	if len(result) > MaxResultBytes {
		errs = append(errs, &broker.FieldError{
			Field: "result", Value: fmt.Sprintf("%d bytes", len(result)),
			Problem: fmt.Sprintf("must have at most %d bytes; store a reference to it", MaxResultBytes),
		})
	}
	return errors.Join(errs...)
}
