// Package examples_test runs the programs below it as a user does.
package examples_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	// What the programs are made of, so that a cached result of these tests goes
	// stale when it changes.
	_ "github.com/anyqueue/anyqueue/config"
	_ "github.com/anyqueue/anyqueue/memory"
	_ "github.com/anyqueue/anyqueue/middleware"
)

// limit is what every program must end in by itself.
const limit = time.Minute

// runProgram builds a program, runs it, and returns what it printed.
func runProgram(t *testing.T, name string, args ...string) string {
	t.Helper()
	readFolder(t, name)
	binary := filepath.Join(t.TempDir(), name+".exe") // the ending harms nobody, and Windows needs it
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./"+name).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	program := exec.CommandContext(ctx, binary, args...)
	program.Stdout, program.Stderr = &stdout, &stderr
	if err := program.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", name, err, stdout.String(), stderr.String())
	}
	if stderr.Len() > 0 {
		t.Errorf("%s wrote to standard error:\n%s", name, stderr.String())
	}
	return stdout.String()
}

// readFolder opens every file of a program, so that a cached result goes stale
// when one changes: the test cache does not see what the go command reads.
func readFolder(t *testing.T, name string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(name, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %d files", name, err, len(files))
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.IsDir() {
			continue
		}
		if _, err := os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
}

// promised is what a program's package comment says that it prints: the indented
// lines after "It prints" or "and prints".
func promised(t *testing.T, name string) string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(name, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	comment, _, _ := strings.Cut(string(source), "\npackage main")
	_, after, found := strings.Cut(comment, "prints\n//\n")
	if !found {
		t.Fatalf("the comment of %s does not say what the program prints", name)
	}
	var out strings.Builder
	for line := range strings.Lines(after) {
		text, indented := strings.CutPrefix(strings.TrimRight(line, "\n"), "//\t")
		if !indented {
			break
		}
		out.WriteString(text + "\n")
	}
	return out.String()
}

// small are the programs that show one idea each.
var small = []string{"quickstart", "perkey", "batch", "shutdown", "testing"}

// Each small program ends by itself and prints what its comment says.
func TestSmallProgramsPrintWhatTheirCommentsSay(t *testing.T) {
	for _, name := range small {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, want := runProgram(t, name), promised(t, name); got != want {
				t.Errorf("it printed\n%s\nand its comment says\n%s", got, want)
			}
		})
	}
}

// Each small program fits on a screen.
func TestSmallProgramsAreSmall(t *testing.T) {
	const most = 60
	for _, name := range small {
		files, err := filepath.Glob(filepath.Join(name, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %d files", name, err, len(files))
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(text, []byte("\n")); n > most {
				t.Errorf("%s has %d lines, at most %d are allowed", file, n, most)
			}
		}
	}
}

// The main job ends by itself with every promise verified.
func TestRefundKeepsItsPromises(t *testing.T) {
	t.Parallel()
	var report struct {
		Orders, Refunded int
		OverRefunded     int      `json:"over_refunded"`
		Broken           []string `json:"broken"`
	}
	out := runProgram(t, "refund", "-orders", "200", "-json")
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if report.Orders != 200 || report.Refunded != 198 || report.OverRefunded != 0 || len(report.Broken) != 0 {
		t.Errorf("unexpected report:\n%s", out)
	}
}
