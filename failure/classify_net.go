package failure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"os"
	"reflect"
	"syscall"
)

// networkRules read errors on the way to a service, and deadlines, which have
// the same methods.
var networkRules = []rule{
	{is[*net.OpError], readOpError},
	{is[*url.Error], readURLError},
	{is[*net.DNSError], always(ClassDependency)},
	{isOtherNetError, readNetError},

	{is[tls.AlertError], always(ClassDependency)},
	{is[tls.RecordHeaderError], always(ClassDependency)},
	{is[*tls.CertificateVerificationError], always(ClassDependency)},
	{is[*tls.ECHRejectionError], always(ClassDependency)},
	{is[x509.CertificateInvalidError], always(ClassDependency)},
	{is[x509.ConstraintViolationError], always(ClassDependency)},
	{is[x509.HostnameError], always(ClassDependency)},
	{is[x509.InsecureAlgorithmError], always(ClassDependency)},
	{is[x509.SystemRootsError], always(ClassDependency)},
	{is[x509.UnhandledCriticalExtension], always(ClassDependency)},
	{is[x509.UnknownAuthorityError], always(ClassDependency)},

	{isTypeOf(context.DeadlineExceeded), only(context.DeadlineExceeded, ClassTimeout)},
	{isTypeOf(os.ErrDeadlineExceeded), only(os.ErrDeadlineExceeded, ClassTimeout)},
}

func readOpError(err error) finding {
	return operation(err.(*net.OpError).Err) //nolint:errorlint // chosen by its type
}

// readURLError reads what net/http returns when a request failed. The same type
// says that a URL does not parse, for which no service is to blame.
func readURLError(err error) finding {
	e := err.(*url.Error) //nolint:errorlint // chosen by its type
	if e.Op == "parse" {
		return finding{}
	}
	return operation(e.Err)
}

// operation is a network operation that failed of a cause. One that we ended
// ourselves says nothing about the service.
func operation(cause error) finding {
	for n := range nodes(cause) {
		if isCancelled(n.err) {
			return finding{}
		}
	}
	return finding{class: ClassDependency, weight: general}
}

// isCancelled recognises context.Canceled, and package net's own error for a
// dial that was cancelled, which only says so when it is asked.
func isCancelled(err error) (yes bool) {
	if err == context.Canceled { //nolint:errorlint // each link of the chain is read on its own
		return true
	}
	defer guard()
	is, ok := err.(interface{ Is(error) bool })
	return ok && is.Is(context.Canceled)
}

// isOtherNetError matches a net.Error that no other rule knows better.
func isOtherNetError(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[*net.OpError](), reflect.TypeFor[*url.Error](), reflect.TypeFor[*net.DNSError](),
		reflect.TypeFor[syscall.Errno](), reflect.TypeOf(context.DeadlineExceeded), reflect.TypeOf(os.ErrDeadlineExceeded):
		return false
	default:
		return has[net.Error](t)
	}
}

// readNetError takes a timeout that is not one of ours for one of a network
// operation; a net.Error that is none says too little.
func readNetError(err error) finding {
	if e, ok := err.(net.Error); ok && e.Timeout() { //nolint:errorlint // chosen by its type
		return finding{class: ClassDependency, weight: general}
	}
	return finding{}
}
