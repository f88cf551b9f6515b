package faultlab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// Program is what a child process runs instead of tests. What it prints to
// standard output reaches the test line by line. ctx ends when the test asks it
// to stop, or is gone; it then has stopGrace to return. An error makes the child
// exit with status 1.
type Program func(ctx context.Context) error

const (
	// childVariable names the program that a child runs.
	childVariable = "ANYQUEUE_FAULTLAB_CHILD"
	// stopGrace is how long a program may take to return once it is asked to.
	stopGrace = 20 * time.Second
	// outputGrace bounds the wait for a child's output after its end, which a
	// process that it has started may hold open.
	outputGrace = 5 * time.Second
	// lineSize bounds a line of a child.
	lineSize = 1 << 20
)

// RunChild runs the program that this process was started for, if it is a child,
// and says whether it was. It belongs at the beginning of TestMain:
//
//	func TestMain(m *testing.M) {
//		if faultlab.RunChild(map[string]faultlab.Program{"worker": worker}) {
//			return
//		}
//		goleak.VerifyTestMain(m)
//	}
func RunChild(programs map[string]Program) bool {
	name, ok := os.LookupEnv(childVariable)
	if !ok {
		return false
	}
	if err := runChild(name, programs[name]); err != nil {
		fmt.Fprintf(os.Stderr, "child %q: %v\n", name, err)
		os.Exit(1) //nolint:forbidigo // a child is a program, and this is its main function
	}
	return true
}

func runChild(name string, program Program) error {
	if program == nil {
		return errors.New("there is no such program; add it to the table that TestMain gives to faultlab.RunChild")
	}
	ctx, stop := context.WithCancelCause(context.Background()) //nolint:forbidigo // a child is a program, and this is its main function
	defer stop(nil)
	go func() {
		// The test holds the other end. It closes it to ask for a stop, and the
		// system does when the test is gone, however it went.
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop(errors.New("the test closed the child's input"))
		<-time.After(stopGrace)
		fmt.Fprintf(os.Stderr, "child %q: still running %v after it was asked to stop\n", name, stopGrace)
		os.Exit(1) //nolint:forbidigo // so that no child outlives its test
	}()
	return program(ctx)
}

// Child is a process of this test binary that runs one program.
type Child struct {
	*Process
	tb    testing.TB
	name  string
	lines chan string
	stdin io.Closer
	once  sync.Once // closes stdin

	exited chan struct{} // closed when the process has ended and err is set
	err    error
	gone   chan struct{} // closed when nobody reads lines any more
	read   chan struct{} // closed when the last line was read
}

// Start runs a program, by its name in the table of RunChild, in a process of its
// own, with the environment of the test and env ("NAME=value") added. Its
// standard error goes to the test's log. At the end of the test it is killed, if
// it still runs, and collected.
func Start(tb testing.TB, name string, env ...string) *Child {
	tb.Helper()
	c, err := start(tb, name, env)
	if err != nil {
		tb.Fatalf("start child %q: %v", name, err)
	}
	return c
}

func start(tb testing.TB, name string, env []string) (*Child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	out, outW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = outW.Close() }() // the child has its own by then
	// Not CommandContext: a child lives until the cleanup, which comes after the
	// end of the test's context, and may be stopped in good order there.
	cmd := exec.Command(self)
	cmd.Env = append(append(os.Environ(), env...), childVariable+"="+name,
		// Else the race detector holds up the end of each child by a second.
		"GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	cmd.WaitDelay = outputGrace
	cmd.Stdout = outW
	cmd.Stderr = tb.Output()
	cmd.SysProcAttr = childAttributes()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		_ = out.Close()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		_ = out.Close()
		return nil, err
	}
	c := &Child{
		Process: &Process{process: cmd.Process},
		tb:      tb,
		name:    name,
		lines:   make(chan string, 64),
		stdin:   stdin,
		exited:  make(chan struct{}),
		gone:    make(chan struct{}),
		read:    make(chan struct{}),
	}
	go func() {
		defer close(c.exited)
		c.err = cmd.Wait()
	}()
	go c.scan(out)
	tb.Cleanup(c.cleanup)
	return c, nil
}

// scan passes the child's lines on until its end.
func (c *Child) scan(out *os.File) {
	defer close(c.read)
	defer close(c.lines)
	defer func() { _ = out.Close() }()
	in := bufio.NewScanner(out)
	in.Buffer(nil, lineSize)
	for in.Scan() {
		select {
		case c.lines <- in.Text():
		case <-c.gone:
			return
		}
	}
	if err := in.Err(); err != nil {
		c.tb.Errorf("read the output of child %q: %v", c.name, err)
	}
}

func (c *Child) cleanup() {
	if err := c.Kill(); err != nil {
		c.tb.Error(err)
	}
	close(c.gone)
	<-c.read
}

// Lines carries what the child prints. It is closed after its last line, also
// when the child was killed: what it had printed before arrives. A child whose
// lines nobody takes blocks in printing.
func (c *Child) Lines() <-chan string { return c.lines }

// Exited is closed when the child has ended.
func (c *Child) Exited() <-chan struct{} { return c.exited }

// Kill ends the child as kill -9 does and returns when it is gone. To kill one
// that has ended is no error.
func (c *Child) Kill() error {
	if err := c.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-c.exited
	c.once.Do(func() { _ = c.stdin.Close() })
	return nil
}

// Stop asks the child to end in good order, by the end of its context, and
// returns as Wait does.
func (c *Child) Stop(ctx context.Context) error {
	c.once.Do(func() { _ = c.stdin.Close() }) // Wait may have closed it already
	return c.Wait(ctx)
}

// Wait returns when the child has ended, nil if its program returned nil.
func (c *Child) Wait(ctx context.Context) error {
	select {
	case <-c.exited:
	case <-ctx.Done():
		return fmt.Errorf("wait for child %q, process %d: it still runs: %w", c.name, c.PID(), context.Cause(ctx))
	}
	if c.err != nil {
		return fmt.Errorf("child %q, process %d: %w; its standard error is in the test's log", c.name, c.PID(), c.err)
	}
	return nil
}
