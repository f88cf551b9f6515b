package failure

import "reflect"

// Find returns the first error of type T in err's tree, in the order of
// errors.As. Unlike that it bears errors whose methods panic, chains that are
// circles (it looks at 64 links and 256 errors at most), and it does not find nil
// pointers. It asks no As methods.
func Find[T error](err error) (T, bool) {
	for n := range nodes(err) {
		x, ok := n.err.(T) //nolint:errorlint // each link of the tree is read on its own
		if !ok {
			continue
		}
		if v := reflect.ValueOf(x); v.Kind() == reflect.Pointer && v.IsNil() {
			continue
		}
		return x, true
	}
	var zero T
	return zero, false
}

// Is says whether target is in err's tree, as errors.Is does, within the bounds of
// [Find] and whatever the methods of the errors do.
func Is(err, target error) bool {
	for n := range nodes(err) {
		if matches(n.err, target) {
			return true
		}
	}
	return false
}

// matches says whether one error is target, or says so itself.
func matches(err, target error) (yes bool) {
	defer guard()
	if err == target { //nolint:errorlint // each link of the tree is compared on its own
		return true
	}
	x, ok := err.(interface{ Is(error) bool })
	return ok && x.Is(target)
}
