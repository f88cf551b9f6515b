package failure

import (
	"bytes"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strconv"
)

// PanicError is a panic that was recovered. [Classify] takes it for a bug.
type PanicError struct {
	// Value is what panic was called with.
	Value any
	// Stack is the goroutine's stack as runtime.Stack prints it, from the place
	// that panicked outwards; at most 12 KiB.
	Stack []byte
}

// Error returns "panic: " and the value. Of a value that is not an error, a
// Stringer or of a basic type it prints the type alone: what it holds may be
// secret, or a circle.
func (p *PanicError) Error() string {
	if p == nil {
		return "panic"
	}
	return "panic: " + valueText(p.Value)
}

// Unwrap returns Value when it is an error, else nil.
func (p *PanicError) Unwrap() error {
	if p == nil {
		return nil
	}
	err, _ := p.Value.(error)
	return err
}

// Recovered makes an error of what recover returned, with the stack of the
// panic. Call it in the deferred function that recovered:
//
//	defer func() {
//		if v := recover(); v != nil {
//			err = failure.Recovered(v)
//		}
//	}()
//
// A value that is a [*PanicError] already, because a panic was carried from
// one goroutine to another, is returned as it is.
func Recovered(v any) *PanicError {
	if p, ok := v.(*PanicError); ok && p != nil {
		return p
	}
	buf := make([]byte, 2*maxStackBytes) // the frames to be dropped included
	buf = buf[:runtime.Stack(buf, false)]
	return &PanicError{Value: v, Stack: []byte(cappedLines(string(fromPanic(buf)), maxStackBytes))}
}

// fromPanic drops the frames above the one that panicked: those of the recovery
// and of panic itself. (runtime.Stack leaves out the frames by which the runtime
// raises its own panics.) Where nothing panicked, because Recovered was called
// outside of a recovery, only Recovered's frame is dropped.
func fromPanic(stack []byte) []byte {
	header, frames, _ := bytes.Cut(stack, []byte("\n"))
	recovered := []byte(modulePath + "/failure.Recovered(")
	var kept []byte
	for at := frames; len(at) > 0; {
		frame, next := cutFrame(at)
		if bytes.HasPrefix(frame, recovered) {
			kept = next
		}
		if bytes.HasPrefix(frame, []byte("panic(")) {
			kept = next
			break // an outer one was going on already when this one began
		}
		at = next
	}
	if len(kept) == 0 {
		return stack
	}
	return slices.Concat(header, []byte("\n"), kept)
}

// cutFrame splits a printed stack after its first frame: the line of the
// function and the indented one of its place.
func cutFrame(stack []byte) (frame, rest []byte) {
	end := 0
	for range 2 {
		if i := bytes.IndexByte(stack[end:], '\n'); i >= 0 {
			end += i + 1
		} else {
			end = len(stack)
		}
		if end == len(stack) || stack[end] != '\t' {
			break
		}
	}
	return stack[:end], stack[end:]
}

// valueText prints what panic was called with.
func valueText(v any) (text string) {
	text = fmt.Sprintf("(%T)", v) // also when a method below panics
	defer guard()
	switch x := v.(type) {
	case nil:
		return "nil"
	case error:
		return capped(x.Error(), maxTextBytes)
	case fmt.Stringer:
		return capped(x.String(), maxTextBytes)
	}
	switch x := reflect.ValueOf(v); {
	case x.Kind() == reflect.String:
		return capped(x.String(), maxTextBytes)
	case x.Kind() == reflect.Bool:
		return strconv.FormatBool(x.Bool())
	case x.CanInt():
		return strconv.FormatInt(x.Int(), 10)
	case x.CanUint():
		return strconv.FormatUint(x.Uint(), 10)
	case x.CanFloat():
		return strconv.FormatFloat(x.Float(), 'g', -1, 64)
	case x.CanComplex():
		return strconv.FormatComplex(x.Complex(), 'g', -1, 128)
	default:
		return text
	}
}
