package failure

import "syscall"

var errnoRules = []rule{{is[syscall.Errno], readErrno}}

func readErrno(err error) finding {
	e := err.(syscall.Errno)
	switch e {
	case syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE:
		return finding{ClassDependency, "", general}
	case syscall.ENOSPC, syscall.EMFILE, syscall.ENOMEM:
		return finding{ClassResource, "", specific}
	}
	return finding{}
}
