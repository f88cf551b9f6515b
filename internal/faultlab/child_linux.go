package faultlab

import "syscall"

// childAttributes make the system kill a child when the test binary dies: a
// frozen child cannot see the end of its input.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
