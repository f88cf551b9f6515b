package failure

import (
	"math"
	"slices"
)

// Next returns the record that follows prev after one more failure; prev is nil
// for the first. Neither prev nor o is changed or kept.
//
// The class is o.Class, or what [Classify] says of o.Err when that is empty; one
// that is not in the closed set becomes unclassified. o.Err may be nil, for a
// crash that left no error. Attempts keeps the first and the latest nine, Count
// counts all. Chain, Stack and the facts about the place are those of this
// failure alone. Every string is made valid UTF-8 and cut to its bound:
//
//	messages of the chain 1 KiB, of an attempt 512 bytes; types 128 bytes
//	stack 12 KiB
//	source, consumer, host, code version 256 bytes each
//	trace id 64 bytes
//
// and the chain to 16 links: the 15 outermost and the last. Errors that only
// state a class are not links.
func Next(prev *Record, o Observation) *Record {
	r := Record{
		Version: version, Class: o.Class, First: o.At, Last: o.At,
		Source: o.Source, Consumer: o.Consumer, Host: o.Host, CodeVersion: o.CodeVersion, TraceID: o.TraceID,
	}
	var s summary
	if o.Err != nil {
		s = inspect(o.Err)
	}
	if r.Class == "" {
		r.Class = s.class
	}
	r.Class = r.Class.orUnclassified()
	message := textOf(o.Err, maxTextBytes)
	r.Fingerprint = fingerprint(r.Class, &s, message)
	r.Chain = chainOf(o.Err)
	if s.panicked != nil {
		r.Stack = string(s.panicked.Stack)
	}
	if prev != nil {
		r.Count = max(prev.Count, 0)
		r.Attempts = slices.Clip(prev.Attempts) // appending to it copies it
		if !prev.First.IsZero() {
			r.First = prev.First
		}
	}
	if r.Count < math.MaxInt {
		r.Count++
	}
	r.Attempts = append(r.Attempts, Attempt{N: o.Attempt, At: o.At, Class: r.Class, Error: message})
	r = r.bounded()
	return &r
}

// chainOf lists the errors of a tree, outermost first, one branch after the
// other: the first of them and the very last.
func chainOf(err error) []Cause {
	var chain []Cause
	var last node
	for n := range nodes(err) {
		if _, ok := n.err.(*statement); ok { //nolint:errorlint // each link of the chain is read on its own
			continue
		}
		if len(chain) < maxChain-1 {
			chain = append(chain, causeOf(n))
		} else {
			last = n // its message is not asked for until it is known to be the last
		}
	}
	if last.err != nil {
		chain = append(chain, causeOf(last))
	}
	return chain
}

func causeOf(n node) Cause {
	return Cause{Type: n.kind.name, Message: textOf(n.err, maxMessageBytes)}
}

// Message returns what the last failure's outermost error says, "" if there is
// no error. Use it in listings.
func (r *Record) Message() string {
	switch {
	case r == nil:
		return ""
	case len(r.Chain) > 0:
		return r.Chain[0].Message
	case len(r.Attempts) > 0:
		return r.Attempts[len(r.Attempts)-1].Error
	default:
		return ""
	}
}

// ErrorType returns the innermost type of the last failure's chain that says
// something, or else its innermost type; "" if there is no chain. Use it in
// listings; metrics have [ErrorType].
func (r *Record) ErrorType() string {
	if r == nil || len(r.Chain) == 0 {
		return ""
	}
	for _, c := range slices.Backward(r.Chain) {
		if !genericNames[c.Type] {
			return c.Type
		}
	}
	return r.Chain[len(r.Chain)-1].Type
}

// bounded returns a copy that shares no slice with r, in which every part is
// valid and within its bounds. Of a record that is so already it is an equal
// copy.
func (r Record) bounded() Record {
	r.Version = version
	r.Class = r.Class.orUnclassified()
	r.Fingerprint = capped(r.Fingerprint, maxIDBytes)
	r.Stack = cappedLines(r.Stack, maxStackBytes)
	r.Count = max(r.Count, len(r.Attempts))
	r.First, r.Last = instant(r.First), instant(r.Last)
	r.Source = capped(r.Source, maxNameBytes)
	r.Consumer = capped(r.Consumer, maxNameBytes)
	r.Host = capped(r.Host, maxNameBytes)
	r.CodeVersion = capped(r.CodeVersion, maxNameBytes)
	r.TraceID = capped(r.TraceID, maxIDBytes)

	if n := len(r.Chain); n > maxChain {
		r.Chain = slices.Concat(r.Chain[:maxChain-1], r.Chain[n-1:])
	} else {
		r.Chain = slices.Clone(r.Chain)
	}
	for i := range r.Chain {
		c := &r.Chain[i]
		c.Type, c.Message = capped(c.Type, maxTypeBytes), capped(c.Message, maxMessageBytes)
	}

	if n := len(r.Attempts); n > maxAttempts {
		r.Attempts = slices.Concat(r.Attempts[:1], r.Attempts[n-maxAttempts+1:])
	} else {
		r.Attempts = slices.Clone(r.Attempts)
	}
	for i := range r.Attempts {
		a := &r.Attempts[i]
		a.N, a.At, a.Class = max(a.N, 0), instant(a.At), a.Class.orUnclassified()
		a.Error = capped(a.Error, maxErrorBytes)
	}
	return r
}
