package idempotency

import (
	"context"
	"time"
)

// Store keeps claims and completions by key. All methods are safe for concurrent
// use, from several processes where the store is shared by them.
//
// # What is atomic
//
// Each method is one atomic step on the record of its key: it reads the record,
// decides and writes, and no other call on that key comes in between. Every
// change after Claim has the condition that the record still carries the claim's
// token. That condition is the whole safety of the store: a Complete or Release
// without it overwrites the claim of a newer owner whose work is under way.
//
//	record of the key               Claim               Extend  Complete  Release
//	------------------------------  ------------------  ------  --------  -------
//	none                            New: held           lost    lost      lost
//	held, by this token             New: lease renewed  ok      ok        ok: none
//	held, by another, in its lease  InProgress          lost    lost      lost
//	held, by another, lease ended   New: taken over     lost    lost      lost
//	completed, by this token        Duplicate           lost    ok        lost
//	completed, by another           Duplicate           lost    lost      lost
//	completed, retention over       New: held           lost    lost      lost
//
// "lost" is [ErrClaimLost], and changes nothing. Where a record in its lease or
// retention has another fingerprint than the claim, Claim answers Conflict
// instead of InProgress or Duplicate; an empty fingerprint is equal to all.
//
// A claim whose lease has ended, and that nobody took over, still is its
// holder's: a holder that was late can extend or complete it, which is safe
// because the token proves that nobody else was there. A store may forget such a
// claim at any time, and then it is lost. It must not forget a claim in its
// lease or a completion in its retention: a store that evicts, or that answers
// from a replica that lags, makes duplicates run, and has to say so.
//
// Time is the store's, one clock for all callers; lengths of time go in and come
// out, so that no caller's clock matters.
//
// # Errors
//
// ErrClaimLost is final. An error that matches broker.ErrInvalid is a fault in
// the arguments. With every other error nothing is known, not even whether the
// change was made; the call may be repeated with the same claim, because a token
// that already holds the key gets New again and a token that already completed
// it may complete it again. The one exception is a Release that is repeated: it
// says ErrClaimLost when the first one got through.
//
// A method returns soon after its ctx has ended.
type Store interface {
	// Claim takes c.Key for c.Token during lease, or says why not. lease is
	// positive.
	//
	// A holder measures its lease from before the call, by its own clock: then it
	// never believes in a claim for longer than the store does.
	Claim(ctx context.Context, c Claim, lease time.Duration) (Answer, error)
	// Extend makes the lease of c end at now + lease. lease is positive.
	Extend(ctx context.Context, c Claim, lease time.Duration) error
	// Complete marks the key as done for retention, and keeps result for
	// duplicates to read: nil or at most [MaxResultBytes], not retained by the
	// store. When the token completed the key before, what that call stored stays.
	// retention is positive; there is no default, because it is a promise.
	Complete(ctx context.Context, c Claim, retention time.Duration, result []byte) error
	// Release removes the claim, so that the next one is New at once.
	Release(ctx context.Context, c Claim) error
}

// State is the store's answer to Claim in one word.
type State uint8

// The answers to Claim.
const (
	// New: the key is the caller's. It does the work, and then completes or
	// releases the claim.
	New State = iota + 1
	// Duplicate: the work was done, within its retention.
	Duplicate
	// InProgress: somebody else holds the key. Ask again later.
	InProgress
	// Conflict: the key is held or completed for another payload. Two different
	// requests share one identity, which is a fault of whoever made them.
	Conflict
)

// String returns the name used in metrics and logs.
func (s State) String() string {
	switch s {
	case New:
		return "new"
	case Duplicate:
		return "duplicate"
	case InProgress:
		return "in_progress"
	case Conflict:
		return "conflict"
	default:
		return "invalid"
	}
}

// Answer is a store's answer to Claim.
type Answer struct {
	State State
	// Remaining is how long the other's claim lasts unless it is extended; with
	// InProgress, and positive then.
	Remaining time.Duration
	// Result is what was stored with the completion; with Duplicate. It belongs to
	// the caller.
	Result []byte
}
