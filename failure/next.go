package failure

// Next returns the record that follows prev, nil for the first failure, after
// the failure o. prev is not changed.
func Next(prev *Record, o Observation) *Record {
	r := &Record{Version: 1, First: o.At.UTC(), Last: o.At.UTC(), Class: o.Class}
	if r.Class == "" {
		r.Class = Classify(o.Err)
	}
	r.Class = r.Class.orUnclassified()
	r.Fingerprint = Fingerprint(r.Class, o.Err)
	r.Source, r.Consumer, r.Host, r.CodeVersion, r.TraceID = o.Source, o.Consumer, o.Host, o.CodeVersion, o.TraceID
	for n := range nodes(o.Err) {
		r.Chain = append(r.Chain, Cause{Type: n.kind.name, Message: textOf(n.err, 1024)})
	}
	if prev != nil {
		r.First, r.Count = prev.First, prev.Count
		r.Attempts = append(r.Attempts, prev.Attempts...)
	}
	r.Count++
	r.Attempts = append(r.Attempts, Attempt{N: o.Attempt, At: o.At.UTC(), Class: r.Class, Error: textOf(o.Err, 512)})
	return r
}

// Message returns the outermost message of the last failure.
func (r *Record) Message() string {
	if r == nil || len(r.Chain) == 0 {
		return ""
	}
	return r.Chain[0].Message
}

// ErrorType returns the innermost type of the last failure.
func (r *Record) ErrorType() string {
	if r == nil || len(r.Chain) == 0 {
		return ""
	}
	return r.Chain[len(r.Chain)-1].Type
}
