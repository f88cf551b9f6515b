package failure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"os"
)

// networkRules: a service could not be reached, or was lost on the way.
var networkRules = []rule{
	{is[*net.OpError], func(err error) finding { return network(err.(*net.OpError).Err) }},
	{is[*url.Error], readURL},
	{is[*net.DNSError], always(ClassDependency)},

	{is[tls.AlertError], always(ClassDependency)},
	{is[tls.RecordHeaderError], always(ClassDependency)},
	{is[*tls.CertificateVerificationError], always(ClassDependency)},
	{is[x509.CertificateInvalidError], always(ClassDependency)},
	{is[x509.HostnameError], always(ClassDependency)},
	{is[x509.UnknownAuthorityError], always(ClassDependency)},
	{is[x509.SystemRootsError], always(ClassDependency)},
}

// readURL reads what net/http returns for a request that failed. The same type
// says that a URL does not parse, which no service is to blame for.
func readURL(err error) finding {
	e := err.(*url.Error)
	if e.Op == "parse" {
		return finding{}
	}
	return network(e.Err)
}

// network is a failed network operation, unless it was us who cancelled it.
func network(cause error) finding {
	if errors.Is(cause, context.Canceled) {
		return finding{}
	}
	return finding{class: ClassDependency, weight: general}
}

// deadlineRules tell a deadline of ours from one of a network operation. Both
// have the methods of net.Error.
var deadlineRules = []rule{
	{typeOf(context.DeadlineExceeded), sentinel(context.DeadlineExceeded, ClassTimeout)},
	{typeOf(os.ErrDeadlineExceeded), sentinel(os.ErrDeadlineExceeded, ClassTimeout)},
}
