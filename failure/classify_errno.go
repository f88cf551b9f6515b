package failure

import "syscall"

// errnoRules read what the kernel answered.
var errnoRules = []rule{{is[syscall.Errno], readErrno}}

func readErrno(err error) finding {
	e := err.(syscall.Errno) //nolint:errorlint // chosen by its type
	f, ok := errnos[e]
	if !ok {
		return systemErrnos[e]
	}
	return f
}

// lost is an errno of a connection: it stands in a net.OpError, which says the
// same of the class.
func lost(name string) finding { return finding{ClassDependency, name, general} }

// exhausted is an errno that says that this machine has no more of something,
// also where a network operation wanted it.
func exhausted(name string) finding { return finding{ClassResource, name, specific} }

// plainErrno has a name that helps, and can mean anything.
func plainErrno(name string) finding { return finding{"", name, general} }

// errnos are those that every system has. Package syscall has no names for them.
var errnos = map[syscall.Errno]finding{
	syscall.ECONNABORTED: lost("ECONNABORTED"),
	syscall.ECONNREFUSED: lost("ECONNREFUSED"),
	syscall.ECONNRESET:   lost("ECONNRESET"),
	syscall.EHOSTUNREACH: lost("EHOSTUNREACH"),
	syscall.ENETDOWN:     lost("ENETDOWN"),
	syscall.ENETRESET:    lost("ENETRESET"),
	syscall.ENETUNREACH:  lost("ENETUNREACH"),
	syscall.ENOTCONN:     lost("ENOTCONN"),
	syscall.EPIPE:        lost("EPIPE"),
	syscall.ETIMEDOUT:    lost("ETIMEDOUT"),

	syscall.EADDRNOTAVAIL: exhausted("EADDRNOTAVAIL"), // a dial found no free port
	syscall.EDQUOT:        exhausted("EDQUOT"),
	syscall.EMFILE:        exhausted("EMFILE"),
	syscall.ENFILE:        exhausted("ENFILE"),
	syscall.ENOBUFS:       exhausted("ENOBUFS"),
	syscall.ENOMEM:        exhausted("ENOMEM"),
	syscall.ENOSPC:        exhausted("ENOSPC"),

	syscall.EACCES:     plainErrno("EACCES"),
	syscall.EADDRINUSE: plainErrno("EADDRINUSE"),
	syscall.EAGAIN:     plainErrno("EAGAIN"),
	syscall.EBADF:      plainErrno("EBADF"),
	syscall.EBUSY:      plainErrno("EBUSY"),
	syscall.EEXIST:     plainErrno("EEXIST"),
	syscall.EFBIG:      plainErrno("EFBIG"),
	syscall.EINTR:      plainErrno("EINTR"),
	syscall.EINVAL:     plainErrno("EINVAL"),
	syscall.EIO:        plainErrno("EIO"),
	syscall.EISDIR:     plainErrno("EISDIR"),
	syscall.ENOENT:     plainErrno("ENOENT"),
	syscall.ENOTDIR:    plainErrno("ENOTDIR"),
	syscall.ENOTEMPTY:  plainErrno("ENOTEMPTY"),
	syscall.EPERM:      plainErrno("EPERM"),
	syscall.EROFS:      plainErrno("EROFS"),
	syscall.ESTALE:     plainErrno("ESTALE"),
	syscall.EXDEV:      plainErrno("EXDEV"),
}
