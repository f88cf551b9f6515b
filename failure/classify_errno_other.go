//go:build !windows

package failure

import "syscall"

// systemErrnos are further ones of this system: none.
var systemErrnos map[syscall.Errno]finding
