package faultlab

import (
	"context"
	"fmt"
	"os"
	"time"
)

// Process is a running process, of this program or any other. Its methods may be
// called by any goroutine.
type Process struct {
	process *os.Process
}

// FindProcess returns the process with an id. On Linux the handle stays bound to
// it, so that a later process of the same id is not hit.
func FindProcess(pid int) (*Process, error) {
	p, err := os.FindProcess(pid)
	if err != nil {
		return nil, fmt.Errorf("find process %d: %w", pid, err)
	}
	return &Process{process: p}, nil
}

// PID is the id of the process.
func (p *Process) PID() int { return p.process.Pid }

// Kill ends the process as kill -9 does: it has no chance to settle, flush or
// close anything; its sockets are closed by the system. A frozen process dies
// too. It does not wait for the end. The error is os.ErrProcessDone if the process
// has ended before.
func (p *Process) Kill() error {
	if err := p.process.Kill(); err != nil {
		return fmt.Errorf("kill process %d: %w", p.PID(), err)
	}
	return nil
}

// Freeze stops the process where it stands, as SIGSTOP does: its sockets stay
// open and take bytes until their buffers are full, and nothing is answered. On
// Windows it is errors.ErrUnsupported.
func (p *Process) Freeze() error {
	if err := p.signal(freeze); err != nil {
		return fmt.Errorf("freeze process %d: %w", p.PID(), err)
	}
	return nil
}

// Thaw lets a frozen process go on.
func (p *Process) Thaw() error {
	if err := p.signal(thaw); err != nil {
		return fmt.Errorf("thaw process %d: %w", p.PID(), err)
	}
	return nil
}

// Wait returns when the process has ended, whoever started it.
func (p *Process) Wait(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for alive(p.process) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the end of process %d: it is still there: %w", p.PID(), context.Cause(ctx))
		case <-tick.C:
		}
	}
	return nil
}
