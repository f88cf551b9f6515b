package failure

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// version is the version of the encoding that this package writes and reads.
const version = 1

// ErrRecordTooLarge is what [Decode] returns for more than [MaxRecordBytes].
var ErrRecordTooLarge = errors.New("failure record too large")

// VersionError says that a record is encoded in a version that this code does
// not know: a newer release wrote it, or it is no record.
type VersionError struct {
	// Version is the one found, 0 if there was none.
	Version int
}

func (e *VersionError) Error() string {
	if e.Version == 0 {
		return "failure record has no version: it was not written by anyqueue, or it is damaged"
	}
	return fmt.Sprintf("failure record has version %d and this release reads version %d: read it with the release that wrote it, or a later one", e.Version, version)
}

// Encode writes the record as JSON, at most [MaxRecordBytes]. Equal records give
// equal bytes.
//
// A record made by [Next] seldom comes near that limit. What does, because its
// texts need much escaping, loses in this order what it takes to fit: the lower
// part of the stack, the stack, the middle of the chain, the chain, the attempts
// between the first and the last, all attempts. One that was made by hand is
// bounded in the same way as by Next first.
//
// The error is a [*VersionError] if Version is neither 1 nor 0, which stands for
// 1, or says that r is nil.
func (r *Record) Encode() ([]byte, error) {
	if r == nil {
		return nil, errors.New("encode failure record: it is nil")
	}
	if r.Version != version && r.Version != 0 {
		return nil, fmt.Errorf("encode: %w", &VersionError{r.Version})
	}
	small := r.bounded()
	for _, reduce := range reductions {
		b, err := marshal(&small)
		if err != nil || len(b) <= MaxRecordBytes {
			return b, err
		}
		reduce(&small)
	}
	// What is left is at most 1.2 KiB of text, six times that when it is escaped.
	return marshal(&small)
}

// reductions make a record smaller, the part that is missed least first.
var reductions = []func(*Record){
	func(r *Record) { r.Stack = cappedLines(r.Stack, maxStackBytes/4) },
	func(r *Record) { r.Stack = "" },
	func(r *Record) { r.Chain = ends(r.Chain) },
	func(r *Record) { r.Chain = nil },
	func(r *Record) { r.Attempts = ends(r.Attempts) },
	func(r *Record) { r.Attempts = nil },
}

// Brief returns a copy of r that fits almost anywhere: without the stack, the
// chain and the list of attempts. Class, fingerprint, count and times stay. A nil
// r gives nil.
func (r *Record) Brief() *Record {
	if r == nil {
		return nil
	}
	small := *r
	for _, reduce := range reductions {
		reduce(&small)
	}
	return &small
}

// ends returns the first and the last element of a list.
func ends[T any](list []T) []T {
	if len(list) <= 2 {
		return list
	}
	return []T{list[0], list[len(list)-1]}
}

func marshal(r *Record) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // it is read by people, and would only grow
	if err := e.Encode(r); err != nil {
		return nil, fmt.Errorf("encode failure record: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Decode reads what [Record.Encode] wrote. Fields that it does not know are
// ignored, a class that it does not know becomes unclassified, and parts beyond
// their bounds are cut, so that a record from anywhere is safe to use.
//
// Errors: [ErrRecordTooLarge], a [*VersionError], or what encoding/json says of
// the bytes. b is not kept.
func Decode(b []byte) (*Record, error) {
	if len(b) > MaxRecordBytes {
		return nil, fmt.Errorf("decode: %w: %d bytes, at most %d are read", ErrRecordTooLarge, len(b), MaxRecordBytes)
	}
	// The version is read alone first: in another one fields may differ in type.
	var v struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("decode failure record of %d bytes: %w", len(b), err)
	}
	if v.Version != version {
		return nil, fmt.Errorf("decode: %w", &VersionError{v.Version})
	}
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("decode failure record of %d bytes: %w", len(b), err)
	}
	r = r.bounded()
	return &r, nil
}

// instant returns t in UTC without a monotonic reading, as it is after encoding
// and decoding; the zero time if it is beyond what JSON can hold, the years 0 to
// 9999.
func instant(t time.Time) time.Time {
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return time.Time{}
	}
	return t
}
