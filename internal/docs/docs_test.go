package docs

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

// The README's programs are the Examples, which are compiled and run; every other
// piece of Go in it is an excerpt of a file of the tree, with what it omits marked.
func TestReadmesProgramsAreTheExamples(t *testing.T) {
	file, _, _ := strings.Cut(read(t, filepath.Join(root, "config", "example_program_test.go")), "\t// Output:")
	file = regexp.MustCompile(`(?m)^// .*\n`).ReplaceAllString(file, "")
	file = strings.NewReplacer("package config_test", "package main", "func Example_program()", "func main()", "testdata/worker.yaml", "worker.yaml").Replace(file) + "}"
	programs := []string{
		flatten(between(t, read(t, filepath.Join(root, "runtime", "example_test.go")), "func Example() {\n", "\t// Output:")),
		flatten(file),
		flatten(between(t, read(t, filepath.Join(root, "config", "example_test.go")), "== \"refund-A-1\" }\n", "\tback, err :=")),
	}
	order := strings.ReplaceAll(read(t, filepath.Join(root, "middleware", "doc.go")), "//\t", "")
	test := flatten(read(t, filepath.Join(root, "examples", "testing", "main_test.go")))

	shown := fenced(read(t, filepath.Join(root, "README.md")), "go")
	for _, p := range programs {
		if !slices.Contains(shown, p) {
			t.Errorf("README.md does not show this program:\n%s", p)
		}
	}
	for _, s := range shown {
		if !slices.Contains(programs, s) && !excerpt(s, flatten(order)) && !excerpt(s, test) {
			t.Errorf("README.md shows Go that stands nowhere in the tree:\n%s", s)
		}
	}
}

// excerpt says whether the parts of s, between lines that mark an omission, stand
// in text in their order.
func excerpt(s, text string) bool {
	for part := range strings.SplitSeq(s, "\n// ...\n") {
		_, rest, ok := strings.Cut(text, part)
		if !ok {
			return false
		}
		text = rest
	}
	return true
}

// The README's configuration file is the one that its program opens.
func TestReadmesConfigurationIsTheOneThatItsProgramOpens(t *testing.T) {
	want := flatten(read(t, filepath.Join(root, "config", "testdata", "worker.yaml")))
	if got := fenced(read(t, filepath.Join(root, "README.md")), "yaml"); !slices.Equal(got, []string{want}) {
		t.Errorf("README.md shows %q, want config/testdata/worker.yaml once:\n%s", got, want)
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

// fenced returns the page's blocks of a language, flattened.
func fenced(page, language string) []string {
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```").FindAllStringSubmatch(page, -1) {
		blocks = append(blocks, flatten(m[1]))
	}
	return blocks
}

// flatten makes texts equal that differ in indentation and alignment alone.
func flatten(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i := range lines {
		lines[i] = strings.Join(strings.Fields(lines[i]), " ")
	}
	return strings.Join(lines, "\n")
}
