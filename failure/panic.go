package failure

import (
	"bytes"
	"fmt"
	"reflect"
	"runtime/debug"
)

// PanicError is a panic that was recovered.
type PanicError struct {
	// Value is what panic was called with.
	Value any
	// Stack is the goroutine's stack from the place of the panic.
	Stack []byte
}

func (p *PanicError) Error() string {
	if p == nil {
		return "panic"
	}
	return "panic: " + valueText(p.Value)
}

// Unwrap returns Value when it is an error.
func (p *PanicError) Unwrap() error {
	if p == nil {
		return nil
	}
	err, _ := p.Value.(error)
	return err
}

// Recovered makes an error of what recover returned.
func Recovered(v any) *PanicError {
	if p, ok := v.(*PanicError); ok && p != nil {
		return p
	}
	s := debug.Stack()
	return &PanicError{Value: v, Stack: bytes.Clone(s[:min(len(s), maxStackBytes)])}
}

func valueText(v any) (text string) {
	text = "(" + fmt.Sprintf("%T", v) + ")"
	defer guard()
	switch x := v.(type) {
	case error:
		return capped(x.Error(), maxTextBytes)
	case fmt.Stringer:
		return capped(x.String(), maxTextBytes)
	}
	switch reflect.ValueOf(v).Kind() {
	case reflect.String, reflect.Bool, reflect.Int:
		return capped(fmt.Sprint(v), maxTextBytes)
	}
	return text
}
