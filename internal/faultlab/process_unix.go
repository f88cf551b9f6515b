//go:build unix

package faultlab

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
)

const (
	freeze = syscall.SIGSTOP
	thaw   = syscall.SIGCONT
)

func (p *Process) signal(s syscall.Signal) error { return p.process.Signal(s) }

// alive says whether a process runs. One that has ended and that its parent has
// not collected yet still takes signals; where /proc exists it tells.
func alive(p *os.Process) bool {
	if p.Signal(syscall.Signal(0)) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid))
	if err != nil {
		return true
	}
	// "pid (name) state ...", and the name may hold anything.
	rest := bytes.TrimSpace(stat[bytes.LastIndexByte(stat, ')')+1:])
	return len(rest) == 0 || rest[0] != 'Z' && rest[0] != 'X'
}
