package faultlab

import (
	"errors"
	"os"
	"syscall"
)

const (
	freeze = iota
	thaw
)

// signal does nothing: Windows can end a process but not suspend it.
func (p *Process) signal(int) error { return errors.ErrUnsupported }

func alive(p *os.Process) bool {
	h, err := syscall.OpenProcess(syscall.SYNCHRONIZE, false, uint32(p.Pid))
	if err != nil {
		return false
	}
	defer func() { _ = syscall.CloseHandle(h) }()
	state, err := syscall.WaitForSingleObject(h, 0)
	return err == nil && state == syscall.WAIT_TIMEOUT
}
