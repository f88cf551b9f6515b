package failure

import (
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"sync"
)

// Bounds of what is looked at in one error: links inwards, and errors in all. A
// chain that is a circle ends at them too.
const (
	maxDepth = 64
	maxNodes = 256
)

// node is one error of a tree of wrapped and joined errors.
type node struct {
	err   error
	kind  *kind
	depth int // 0 for the outermost
}

// nodes yields the errors of a tree, within the bounds, in the order in which
// errors.As visits them: outermost first, one branch after the other.
func nodes(err error) iter.Seq[node] {
	return func(yield func(node) bool) {
		left := maxNodes
		walk(err, 0, &left, yield)
	}
}

// walk yields err and what it holds, at most *left errors. It returns false when
// there is nothing more to yield.
func walk(err error, depth int, left *int, yield func(node) bool) bool {
	for ; err != nil && depth < maxDepth; depth++ {
		if *left == 0 {
			return false
		}
		*left--
		k := kindOf(err)
		if !yield(node{err, k, depth}) {
			return false
		}
		switch {
		case k.joins:
			for _, e := range branches(err) {
				if !walk(e, depth+1, left, yield) {
					return false
				}
			}
			return true
		case k.wraps:
			err = inner(err)
		default:
			return true
		}
	}
	return true
}

type (
	wrapper interface{ Unwrap() error }
	joiner  interface{ Unwrap() []error }
)

func inner(err error) (in error) {
	defer guard()
	return err.(wrapper).Unwrap()
}

func branches(err error) (in []error) {
	defer guard()
	return err.(joiner).Unwrap()
}

// guard is deferred around each call of a foreign method: one that panics has
// nothing to say.
func guard() { _ = recover() }

// kind is what an error's type tells.
type kind struct {
	name    string  // as %T prints it, bounded
	wraps   bool    // has Unwrap() error
	joins   bool    // has Unwrap() []error
	generic bool    // says nothing about the failure
	rules   []*rule // those that read errors of this type
}

// kinds holds a *kind per reflect.Type. Asking a type for its methods is slow,
// and there are only as many types as the program's source has.
var kinds sync.Map

func kindOf(err error) *kind {
	t := reflect.TypeOf(err)
	if k, ok := kinds.Load(t); ok {
		return k.(*kind)
	}
	k := &kind{
		name:  capped(t.String(), maxTypeBytes),
		wraps: has[wrapper](t),
		joins: has[joiner](t),
	}
	k.generic = genericNames[k.name] || isOwnWrapper(t, k)
	for i := range rules {
		if rules[i].reads(t) {
			k.rules = append(k.rules, &rules[i])
		}
	}
	kept, _ := kinds.LoadOrStore(t, k)
	return kept.(*kind)
}

// genericNames are the types of errors that only have a text.
var genericNames = func() map[string]bool {
	plain := errors.New("plain")
	names := make(map[string]bool)
	for _, err := range []error{
		plain, errors.Join(plain), fmt.Errorf("no operand"), fmt.Errorf("%w", plain), fmt.Errorf("%w %w", plain, plain),
	} {
		names[reflect.TypeOf(err).String()] = true
	}
	return names
}()

// modulePath is the path of the module that this package is part of.
var modulePath = strings.TrimSuffix(reflect.TypeFor[Class]().PkgPath(), "/failure")

// isOwnWrapper says that the type is a note by this module on an error of
// somebody else: a stated class, an outcome that a handler asks for.
func isOwnWrapper(t reflect.Type, k *kind) bool {
	if !k.wraps && !k.joins || t == reflect.TypeFor[*PanicError]() {
		return false
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch strings.TrimPrefix(t.PkgPath(), modulePath) {
	case "/failure", "/runtime", "/middleware":
		return true
	default:
		return false
	}
}
