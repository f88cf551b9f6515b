package faultlab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// remedy is how one gets servers for the tests.
	remedy = `scripts/servers up && eval "$(scripts/servers env)"`
	// serverPatience bounds one command to a server: starts take the longest.
	serverPatience = 3 * time.Minute
)

// Need returns the value of an environment variable that tells where a server is,
// such as ANYQUEUE_RABBITMQ_URL. Without it the test is skipped and says how to
// get a server; in CI it fails, so that no adapter is left untested in silence.
func Need(tb testing.TB, variable string) string {
	tb.Helper()
	value := os.Getenv(variable)
	if value == "" {
		lacking(tb, "this test needs a real server, and %s is not set: %s", variable, remedy)
	}
	return value
}

// lacking skips the test, or fails it in CI.
func lacking(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if ci := os.Getenv("CI"); ci == "true" || ci == "1" {
		tb.Fatalf(format, args...)
	}
	tb.Skipf(format, args...)
}

// Server is a real server that scripts/servers runs, to be stopped, killed and
// frozen by a test that has it for itself. At the end of the test it is thawed
// and started again.
type Server struct {
	tb     testing.TB
	name   string
	script string
	env    map[string]string

	mu     sync.Mutex
	frozen bool
	down   bool
}

// notOurs is the exit code with which the script refuses to control a server.
const notOurs = 3

// Servers returns the handle of a server by its name in scripts/servers, such as
// "rabbitmq@faults", which is started if it does not run. Where the script may
// not control it, because its address was given by the environment or it cannot
// be had here, the test is skipped, or fails in CI. So it is if the environment of
// the script was not loaded: no test starts servers that nobody asked for.
func Servers(tb testing.TB, name string) *Server {
	tb.Helper()
	s := &Server{tb: tb, name: name, script: os.Getenv("ANYQUEUE_SERVERS")}
	if s.script == "" {
		lacking(tb, "this test needs %s, a server that it may stop and kill: %s", name, remedy)
	}
	ctx := tb.Context()
	if err := s.do(ctx, "up"); err != nil {
		tb.Fatal(err)
	}
	err := s.Start(ctx) // does nothing but refuse what is not ours
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == notOurs {
		lacking(tb, "this test needs a server that it may stop and kill: %v", err)
	}
	if err == nil {
		err = s.load(ctx)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.restore)
	return s
}

// Env is one of the variables that `scripts/servers env` sets for this server, by
// the end of its name: Env("URL") of rabbitmq@faults is
// ANYQUEUE_RABBITMQ_FAULTS_URL. It is "" if there is none.
func (s *Server) Env(suffix string) string {
	prefix := "ANYQUEUE_" + strings.ToUpper(strings.ReplaceAll(s.name, "@", "_")) + "_"
	return s.env[prefix+suffix]
}

// load reads the server's variables, as a shell understands them.
func (s *Server) load(ctx context.Context) error {
	out, err := s.bash(ctx, "-c", `set -e; vars="$(bash "$1" env "$2")"; eval "$vars"; env -0`, "bash", s.script, s.name)
	if err != nil {
		return fmt.Errorf("read the variables of %s: %w", s.name, err)
	}
	s.env = make(map[string]string)
	for v := range strings.SplitSeq(out, "\x00") {
		if name, value, ok := strings.Cut(v, "="); ok && strings.HasPrefix(name, "ANYQUEUE_") {
			s.env[name] = value
		}
	}
	return nil
}

// Stop ends the server in good order and returns when it has ended.
func (s *Server) Stop(ctx context.Context) error {
	s.mark(func() { s.down, s.frozen = true, false })
	return s.do(ctx, "stop")
}

// Start starts the server with its data and returns when it answers.
func (s *Server) Start(ctx context.Context) error {
	err := s.do(ctx, "start")
	if err == nil {
		s.mark(func() { s.down = false })
	}
	return err
}

// Kill ends the server as kill -9 does.
func (s *Server) Kill(ctx context.Context) error {
	s.mark(func() { s.down, s.frozen = true, false })
	return s.do(ctx, "kill")
}

// Freeze stops the server where it stands, with its connections open.
func (s *Server) Freeze(ctx context.Context) error {
	s.mark(func() { s.frozen = true })
	return s.do(ctx, "freeze")
}

// Thaw lets a frozen server go on.
func (s *Server) Thaw(ctx context.Context) error {
	err := s.do(ctx, "thaw")
	if err == nil {
		s.mark(func() { s.frozen = false })
	}
	return err
}

// Ctl runs the server's own tool for administrators, such as rabbitmqctl, and
// returns what it prints.
func (s *Server) Ctl(ctx context.Context, args ...string) (string, error) {
	return s.run(ctx, append([]string{"ctl", s.name}, args...)...)
}

func (s *Server) do(ctx context.Context, verb string) error {
	_, err := s.run(ctx, verb, s.name)
	return err
}

// mark notes what is done to the server before it is done, so that the restoring
// does not depend on its success.
func (s *Server) mark(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// run runs the script and returns its output.
func (s *Server) run(ctx context.Context, args ...string) (string, error) {
	out, err := s.bash(ctx, append([]string{s.script}, args...)...)
	if err != nil {
		return out, fmt.Errorf("scripts/servers %s: %w", strings.Join(args, " "), err)
	}
	return out, nil
}

// bash is named because a system may not know what to do with a script.
func (s *Server) bash(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, serverPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	// A server that the script starts may hold its output open.
	cmd.WaitDelay = outputGrace
	if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return out.String(), fmt.Errorf("%w\n%s", err, strings.TrimSpace(errs.String()+out.String()))
	}
	return out.String(), nil
}

// restore leaves the server as the next test wants it.
func (s *Server) restore() {
	s.mu.Lock()
	frozen, down := s.frozen, s.down
	s.mu.Unlock()
	ctx := context.WithoutCancel(s.tb.Context()) // which has ended by now
	if frozen {
		if err := s.Thaw(ctx); err != nil {
			s.tb.Errorf("thaw the server after the test: %v", err)
		}
	}
	if down {
		if err := s.Start(ctx); err != nil {
			s.tb.Errorf("start the server after the test: %v", err)
		}
	}
}
