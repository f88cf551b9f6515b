package failure

import "time"

// Record is what a dead letter carries about its failures, and what travels
// with a message from attempt to attempt where the broker can carry it. Every
// part is bounded; see [Next]. A Record is immutable once made: Next returns a
// new one. It may be read from any goroutine.
type Record struct {
	// Version is the version of this encoding, 1.
	Version int `json:"v"`
	// Class and Fingerprint are those of the last failure.
	Class       Class  `json:"class"`
	Fingerprint string `json:"fingerprint"`
	// Chain is the last failure's error chain, outermost first; of joined errors
	// one branch after the other. Empty when the failure left no error.
	Chain []Cause `json:"chain,omitempty"`
	// Stack is the goroutine's stack when the last failure was a panic.
	Stack string `json:"stack,omitempty"`
	// Attempts lists failed attempts with their times, oldest first; when there
	// were more than ten, the first and the latest nine.
	Attempts []Attempt `json:"attempts,omitempty"`
	// Count is the number of failed attempts, those not listed included.
	Count int `json:"count"`
	// First and Last are the times of the first and the last failure, UTC.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// Source is the queue or topic the message was received from, Consumer the
	// consumer's name, Host and CodeVersion where it ran, all of the last failure.
	Source      string `json:"source,omitempty"`
	Consumer    string `json:"consumer,omitempty"`
	Host        string `json:"host,omitempty"`
	CodeVersion string `json:"code_version,omitempty"`
	// TraceID is the trace of the last failed attempt.
	TraceID string `json:"trace_id,omitempty"`
}

// Cause is one link of an error chain.
type Cause struct {
	// Type is the error's Go type.
	Type string `json:"type"`
	// Message is what it says, what it wraps included.
	Message string `json:"message"`
}

// Attempt is one failed attempt.
type Attempt struct {
	// N is the number of the attempt, 1 for the first.
	N int `json:"n"`
	// At is when it failed, UTC.
	At    time.Time `json:"at"`
	Class Class     `json:"class"`
	// Error is what the outermost error said.
	Error string `json:"error"`
}

// Observation is one failure as the runtime saw it: the input of [Next].
type Observation struct {
	// Err is what the attempt returned, nil where there was no error to return.
	Err error
	// Class overrides Classify(Err) when not empty (crash, timeout).
	Class Class
	// Attempt is the number of the attempt that failed, 1 for the first.
	Attempt int
	// At is when it failed, in any zone. It is not filled in when it is zero: Next
	// reads no clock.
	At time.Time

	// Facts about the place, as in [Record].
	Source      string
	Consumer    string
	Host        string
	CodeVersion string
	TraceID     string
}
