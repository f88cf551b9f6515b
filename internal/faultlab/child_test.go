package faultlab

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// line returns the next line of a child.
func line(t *testing.T, c *Child) string {
	t.Helper()
	select {
	case s, ok := <-c.Lines():
		if !ok {
			t.Fatal("the child's output has ended")
		}
		return s
	case <-time.After(patience):
		t.Fatalf("no line of child %q within %v", c.name, patience)
		return ""
	}
}

// A child runs its program with the environment that it was given, and its lines
// arrive.
func TestChildRunsItsProgram(t *testing.T) {
	c := Start(t, "greet", "FAULTLAB_TEST_NAME=lab")
	if got := line(t, c); got != "hello lab" {
		t.Errorf("the child printed %q", got)
	}
	if s, ok := <-c.Lines(); ok {
		t.Errorf("the child printed %q as well", s)
	}
	noError(t, c.Wait(within(t)))
	noError(t, c.Kill()) // of one that has ended is no error
}

// A program that fails, and one that does not exist, are errors of Wait that
// tell which child it was.
func TestFailureOfAChildIsReported(t *testing.T) {
	for _, name := range []string{"fail", "nobody"} {
		c := Start(t, name)
		if err := c.Wait(within(t)); err == nil || !strings.Contains(err.Error(), strconv.Quote(name)) {
			t.Errorf("Wait returned %v", err)
		}
	}
}

// A child that is asked to stop ends in good order.
func TestStoppedChildEndsInGoodOrder(t *testing.T) {
	c := Start(t, "ticker")
	line(t, c)
	last := make(chan string, 1)
	go func() {
		var s string
		for s = range c.Lines() { //nolint:revive // the last one counts
		}
		last <- s
	}()
	noError(t, c.Stop(within(t)))
	if s := <-last; !strings.HasPrefix(s, "stopped: the test closed") {
		t.Errorf("its last line is %q", s)
	}
}

// A killed child has no last word, and what it said before arrives.
func TestKilledChildHasNoLastWord(t *testing.T) {
	c := Start(t, "ticker")
	line(t, c)
	noError(t, c.Kill())
	select {
	case <-c.Exited():
	default:
		t.Error("Kill returned before the end of the child")
	}
	next := 1
	for s := range c.Lines() {
		if s != strconv.Itoa(next) {
			t.Errorf("line %d is %q", next, s)
		}
		next++
	}
	if err := c.Wait(within(t)); err == nil {
		t.Error("Wait returned nil for a child that was killed")
	}
}

// A frozen child does nothing and can be waited for, thawed and killed.
func TestFrozenChildDoesNothing(t *testing.T) {
	c := Start(t, "ticker")
	line(t, c)
	if err := c.Freeze(); err != nil {
		t.Skipf("this system cannot freeze: %v", err)
	}
	for quiet := false; !quiet; { // what it had printed before
		select {
		case <-c.Lines():
		case <-time.After(60 * time.Millisecond):
			quiet = true
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.Wait(ctx); err == nil {
		t.Error("a frozen child counts as ended")
	}
	noError(t, c.Thaw())
	line(t, c)
	noError(t, c.Freeze())
	noError(t, c.Kill())
}

// parent starts a ticker, tells its id and waits to be killed.
func parent(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childVariable+"=ticker")
	cmd.SysProcAttr = childAttributes()
	if _, err := cmd.StdinPipe(); err != nil {
		return err
	}
	if cmd.Stdout, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	fmt.Println(cmd.Process.Pid)
	<-ctx.Done()
	return cmd.Wait()
}

// A child does not outlive a test binary that dies.
func TestChildDiesWithItsParent(t *testing.T) {
	c := Start(t, "parent")
	pid, err := strconv.Atoi(line(t, c))
	noError(t, err)
	orphan, err := FindProcess(pid)
	noError(t, err)
	if !alive(orphan.process) {
		t.Fatal("the child's child is not there")
	}
	noError(t, c.Kill())
	noError(t, orphan.Wait(within(t)))
}

// At the end of its test a child is killed and collected, even one that is frozen
// and whose lines nobody took.
func TestChildIsCollectedAtTheEndOfItsTest(t *testing.T) {
	var c *Child
	t.Run("inner", func(t *testing.T) {
		c = Start(t, "ticker")
		line(t, c)
		c.Freeze()
	})
	select {
	case <-c.Exited():
	default:
		t.Error("the child lives on")
	}
}

// A process that was started by somebody else can be waited for, also while its
// parent has not collected it.
func TestProcessCanBeWaitedForByAnybody(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=ticker")
	stdin, err := cmd.StdinPipe()
	noError(t, err)
	cmd.Stdout = io.Discard
	noError(t, cmd.Start())
	defer func() { cmd.Wait() }()
	defer stdin.Close()
	p, err := FindProcess(cmd.Process.Pid)
	noError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := p.Wait(ctx); err == nil {
		t.Error("Wait returned nil for a process that runs")
	}
	noError(t, p.Kill())
	noError(t, p.Wait(within(t)))
}
