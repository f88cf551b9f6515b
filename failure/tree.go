package failure

import (
	"iter"
	"reflect"
	"sync"
)

// Bounds of what is looked at in one error: links from the outermost error
// inwards, and errors in all, those joined side by side included. A circle ends
// at them too.
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

// nodes yields the errors of a tree in the order in which errors.As visits
// them, outermost first, within the bounds.
func nodes(err error) iter.Seq[node] {
	return func(yield func(node) bool) {
		left := maxNodes
		walk(err, 0, &left, yield)
	}
}

// walk yields err and what it wraps. It returns false when the walk is over.
func walk(err error, depth int, left *int, yield func(node) bool) bool {
	for err != nil && depth < maxDepth {
		if *left == 0 {
			return false
		}
		*left--
		k := kindOf(reflect.TypeOf(err))
		if !yield(node{err, k, depth}) {
			return false
		}
		if k.joins {
			for _, e := range unwrapMany(err) {
				if !walk(e, depth+1, left, yield) {
					return false
				}
				if *left == 0 {
					return false
				}
			}
			return true
		}
		if !k.wraps {
			return true
		}
		err = unwrapOne(err)
		depth++
	}
	return true
}

type (
	wrapper interface{ Unwrap() error }
	joiner  interface{ Unwrap() []error }
)

func unwrapOne(err error) (inner error) {
	defer guard()
	return err.(wrapper).Unwrap()
}

func unwrapMany(err error) (inner []error) {
	defer guard()
	return err.(joiner).Unwrap()
}

// guard stands around each call of a method of a foreign error: one that panics
// has nothing to say.
func guard() { _ = recover() }

// kind is what is known of an error's type.
type kind struct {
	name    string  // as %T prints it
	wraps   bool    // has Unwrap() error
	joins   bool    // has Unwrap() []error
	generic bool    // says nothing about the failure: made by package errors, fmt or this one
	rules   []*rule // those that read errors of this type
}

// kinds caches by reflect.Type. It is bounded by the number of error types in
// the program.
var kinds sync.Map

func kindOf(t reflect.Type) *kind {
	if k, ok := kinds.Load(t); ok {
		return k.(*kind)
	}
	k := &kind{
		name:    capped(t.String(), maxTypeBytes),
		wraps:   t.Implements(reflect.TypeFor[wrapper]()),
		joins:   t.Implements(reflect.TypeFor[joiner]()),
		generic: genericTypes[t],
	}
	for i := range rules {
		if rules[i].reads(t) {
			k.rules = append(k.rules, &rules[i])
		}
	}
	kept, _ := kinds.LoadOrStore(t, k)
	return kept.(*kind)
}
