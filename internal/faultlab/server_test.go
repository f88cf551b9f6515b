package faultlab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// verdict is a test that records whether it was skipped or failed.
type verdict struct {
	testing.TB
	skipped, failed string
}

func (v *verdict) Skipf(format string, args ...any) {
	v.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (v *verdict) Fatalf(format string, args ...any) {
	v.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (v *verdict) Fatal(args ...any) {
	v.failed = fmt.Sprint(args...)
	runtime.Goexit()
}

// judge runs a body with a test of its own.
func judge(t *testing.T, body func(tb testing.TB)) *verdict {
	t.Helper()
	v := &verdict{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		body(v)
	}()
	<-done
	return v
}

// A test that lacks its server is skipped with the remedy, and fails in CI.
func TestMissingServerSkipsAndFailsInCI(t *testing.T) {
	const variable = "ANYQUEUE_FAULTLAB_TEST_URL"
	need := func(tb testing.TB) { Need(tb, variable) }
	t.Setenv(variable, "")
	t.Setenv("CI", "")
	if v := judge(t, need); v.failed != "" || !strings.Contains(v.skipped, variable) || !strings.Contains(v.skipped, remedy) {
		t.Errorf("skipped with %q, failed with %q; want a skip with the remedy", v.skipped, v.failed)
	}
	for _, ci := range []string{"true", "1"} {
		t.Setenv("CI", ci)
		if v := judge(t, need); v.skipped != "" || !strings.Contains(v.failed, remedy) {
			t.Errorf("CI=%s: skipped with %q, failed with %q; want a failure with the remedy", ci, v.skipped, v.failed)
		}
	}
	t.Setenv(variable, "somewhere")
	if got := Need(t, variable); got != "somewhere" {
		t.Errorf("Need returned %q", got)
	}
}

// withScript lets a text stand for scripts/servers, and returns the file of its
// calls.
func withScript(t *testing.T, text string) (calls string) {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil || runtime.GOOS == "windows" {
		t.Skip("the script needs bash")
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "servers")
	calls = filepath.Join(dir, "calls")
	noError(t, os.WriteFile(script, []byte(`echo "$*" >>`+calls+"\n"+text), 0o600))
	t.Setenv("ANYQUEUE_SERVERS", script)
	t.Setenv("CI", "")
	return calls
}

// A server is controlled through the script, and left running and thawed whatever
// the test did to it.
func TestServerIsControlledByTheScriptAndRestored(t *testing.T) {
	calls := withScript(t, `case $1 in
ctl) echo "did $*" ;;
env) printf 'export ANYQUEUE_RABBITMQ_FAULTS_URL=%q\n' "amqp://it's here" ;;
esac`)
	t.Run("frozen", func(t *testing.T) {
		s := Servers(t, "rabbitmq@faults")
		if got := s.Env("URL"); got != "amqp://it's here" {
			t.Errorf("the address is %q", got)
		}
		noError(t, s.Kill(t.Context()))
		noError(t, s.Start(t.Context()))
		noError(t, s.Freeze(t.Context()))
		noError(t, s.Thaw(t.Context()))
		out, err := s.Ctl(t.Context(), "list_queues", "name")
		if err != nil || out != "did ctl rabbitmq@faults list_queues name\n" {
			t.Errorf("Ctl returned %q and %v", out, err)
		}
		noError(t, s.Freeze(t.Context()))
	})
	t.Run("stopped", func(t *testing.T) {
		noError(t, Servers(t, "rabbitmq@faults").Stop(t.Context()))
	})
	got, err := os.ReadFile(calls)
	noError(t, err)
	var verbs []string
	for l := range strings.Lines(string(got)) {
		verb, rest, _ := strings.Cut(strings.TrimSpace(l), " ")
		if !strings.HasPrefix(rest, "rabbitmq@faults") {
			t.Errorf("the script was called with %q", l)
		}
		verbs = append(verbs, verb)
	}
	if got := strings.Join(verbs, " "); got != "up start env kill start freeze thaw ctl freeze thaw up start env stop start" {
		t.Errorf("the script was called for %s", got)
	}
}

// A server that is not ours to control skips the test with the script's words, and
// fails it in CI; so does an environment that was never loaded.
func TestUncontrollableServerSkips(t *testing.T) {
	withScript(t, `if [ "$1" = start ]; then echo "its address was given" >&2; exit 3; fi`)
	take := func(tb testing.TB) { Servers(tb, "rabbitmq@faults") }
	if v := judge(t, take); v.failed != "" || !strings.Contains(v.skipped, "its address was given") {
		t.Errorf("skipped with %q, failed with %q", v.skipped, v.failed)
	}
	t.Setenv("CI", "true")
	if v := judge(t, take); v.skipped != "" || !strings.Contains(v.failed, "its address was given") {
		t.Errorf("in CI: skipped with %q, failed with %q", v.skipped, v.failed)
	}
	t.Setenv("CI", "")
	t.Setenv("ANYQUEUE_SERVERS", "")
	if v := judge(t, take); v.failed != "" || !strings.Contains(v.skipped, remedy) {
		t.Errorf("without a script: skipped with %q, failed with %q", v.skipped, v.failed)
	}
}

// A server that does not start fails the test with the script's words: it is no
// reason to skip.
func TestServerThatDoesNotStartFails(t *testing.T) {
	withScript(t, `echo "died while it started" >&2; exit 1`)
	v := judge(t, func(tb testing.TB) { Servers(tb, "rabbitmq@faults") })
	if v.skipped != "" || !strings.Contains(v.failed, "died while it started") {
		t.Errorf("skipped with %q, failed with %q", v.skipped, v.failed)
	}
}
