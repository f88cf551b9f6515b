package docs

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/memory"
)

var update = flag.Bool("update", false, "rewrite the generated parts of the documentation")

const root = "../.."

// capabilities are those of every adapter in the tree.
func capabilities(t *testing.T) []broker.Capabilities {
	t.Helper()
	b := memory.New(memory.Options{})
	t.Cleanup(b.Close)
	if err := b.Declare(memory.Queue{Name: "q"}); err != nil {
		t.Fatal(err)
	}
	sub, err := b.Subscribe("q", memory.SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return []broker.Capabilities{sub.Capabilities()}
}

// The README's table of guarantees is what the adapters' capabilities say.
func TestGuaranteesTableFollowsFromTheCapabilities(t *testing.T) {
	path := filepath.Join(root, "README.md")
	readme := read(t, path)
	section := regexp.MustCompile(`(?s)(<!-- guarantees:begin[^\n]*-->\n).*(<!-- guarantees:end -->)`)
	if !section.MatchString(readme) {
		t.Fatal("README.md has no guarantees section")
	}
	want := section.ReplaceAllStringFunc(readme, func(s string) string {
		m := section.FindStringSubmatch(s)
		return m[1] + Guarantees(capabilities(t)...) + m[2]
	})
	if want == readme {
		return
	}
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("README.md's table of guarantees is out of date; run go test ./internal/docs -update. It should be:\n%s", Guarantees(capabilities(t)...))
}

// The README's program is the runtime's Example, which is compiled and run.
func TestReadmesProgramIsTheExample(t *testing.T) {
	example := between(t, read(t, filepath.Join(root, "runtime", "example_test.go")), "func Example() {\n", "\t// Output:")
	program := between(t, read(t, filepath.Join(root, "README.md")), "## A worker\n\n```go\n", "```")
	if got, want := flatten(program), flatten(example); got != want {
		t.Errorf("README.md's program differs from runtime's Example:\n%s\n--- want\n%s", got, want)
	}
}

// Every link of the documentation to a file of the tree leads somewhere.
func TestLinksIntoTheTreeLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:\s]+)(#[^)]*)?\)`)
	pages, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob(filepath.Join(root, "*", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, more...) {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			}
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func between(t *testing.T, s, begin, end string) string {
	t.Helper()
	_, rest, ok := strings.Cut(s, begin)
	if !ok {
		t.Fatalf("no %q", begin)
	}
	body, _, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatalf("no %q after %q", end, begin)
	}
	return body
}

// flatten removes indentation.
func flatten(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}
