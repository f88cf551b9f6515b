//go:build !linux

package faultlab

import "syscall"

// childAttributes are the system's own; the end of its input ends a child whose
// test binary died.
func childAttributes() *syscall.SysProcAttr { return nil }
