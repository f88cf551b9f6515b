package failure

import "syscall"

// systemErrnos are Windows' own numbers: package syscall invents the POSIX ones
// there, and the system answers with these. They get the POSIX names, so that a
// metric reads the same everywhere.
var systemErrnos = map[syscall.Errno]finding{
	64:    lost("ECONNRESET"), // ERROR_NETNAME_DELETED
	109:   lost("EPIPE"),      // ERROR_BROKEN_PIPE
	10050: lost("ENETDOWN"),
	10051: lost("ENETUNREACH"),
	10052: lost("ENETRESET"),
	10053: lost("ECONNABORTED"),
	10054: lost("ECONNRESET"),
	10057: lost("ENOTCONN"),
	10060: lost("ETIMEDOUT"),
	10061: lost("ECONNREFUSED"),
	10065: lost("EHOSTUNREACH"),

	4:     exhausted("EMFILE"), // ERROR_TOO_MANY_OPEN_FILES
	8:     exhausted("ENOMEM"), // ERROR_NOT_ENOUGH_MEMORY
	14:    exhausted("ENOMEM"), // ERROR_OUTOFMEMORY
	39:    exhausted("ENOSPC"), // ERROR_HANDLE_DISK_FULL
	112:   exhausted("ENOSPC"), // ERROR_DISK_FULL
	1295:  exhausted("EDQUOT"), // ERROR_DISK_QUOTA_EXCEEDED
	1455:  exhausted("ENOMEM"), // ERROR_COMMITMENT_LIMIT
	10024: exhausted("EMFILE"),
	10049: exhausted("EADDRNOTAVAIL"),
	10055: exhausted("ENOBUFS"),

	2:   plainErrno("ENOENT"), // ERROR_FILE_NOT_FOUND
	3:   plainErrno("ENOENT"), // ERROR_PATH_NOT_FOUND
	5:   plainErrno("EACCES"), // ERROR_ACCESS_DENIED
	80:  plainErrno("EEXIST"), // ERROR_FILE_EXISTS
	183: plainErrno("EEXIST"), // ERROR_ALREADY_EXISTS
}
