package docs

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/config"
	"github.com/anyqueue/anyqueue/memory"
	"github.com/anyqueue/anyqueue/rabbit"
)

var update = flag.Bool("update", false, "rewrite the generated parts of the documentation")

const root = "../.."

// capabilities are those of every adapter in the tree.
func capabilities(t *testing.T) []Column {
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
	columns := []Column{{"memory", sub.Capabilities()}}
	rabbitmq := func(name string, s rabbit.Settings, in broker.Intent) {
		s.URL, in.MaxAttempts = broker.NewSecret("amqp://localhost/"), 5
		c, err := rabbit.Capabilities(s, "q", in)
		if err != nil {
			t.Fatal(err)
		}
		columns = append(columns, Column{name, c})
	}
	delays := []time.Duration{time.Second, 5 * time.Minute}
	rabbitmq("rabbitmq", rabbit.Settings{}, broker.Intent{Delays: delays})
	rabbitmq("rabbitmq, `ordering: key`", rabbit.Settings{}, broker.Intent{Ordered: true})
	rabbitmq("rabbitmq, `queue_type: classic`", rabbit.Settings{QueueType: rabbit.Classic}, broker.Intent{Delays: delays})
	return columns
}

// The README's table of guarantees is what the adapters' capabilities say.
func TestGuaranteesTableFollowsFromTheCapabilities(t *testing.T) {
	generated(t, "README.md", "guarantees", Guarantees(capabilities(t)...))
}

// The tables of settings are what the structs' tags say.
func TestSettingsTablesFollowFromTheStructs(t *testing.T) {
	generated(t, filepath.Join("docs", "rabbitmq.md"), "settings", Settings(rabbit.Settings{}))
}

// generated compares the part of a page between its markers with what it should be,
// or writes it.
func generated(t *testing.T, page, name, part string) {
	t.Helper()
	path := filepath.Join(root, page)
	text := read(t, path)
	section := regexp.MustCompile(`(?s)(<!-- ` + name + `:begin[^\n]*-->\n).*(<!-- ` + name + `:end -->)`)
	if !section.MatchString(text) {
		t.Fatalf("%s has no part called %s", page, name)
	}
	want := section.ReplaceAllStringFunc(text, func(s string) string {
		m := section.FindStringSubmatch(s)
		return m[1] + part + m[2]
	})
	if want == text {
		return
	}
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s: the part %s is out of date; run go test ./internal/docs -update. It should be:\n%s", page, name, part)
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

// The configuration that the page about RabbitMQ shows is one.
func TestConfigurationOfThePagesIsValid(t *testing.T) {
	shown := blocks(read(t, filepath.Join(root, "docs", "rabbitmq.md")), "yaml")
	if len(shown) < 2 {
		t.Fatalf("%d pieces of configuration", len(shown))
	}
	for _, file := range shown {
		if !strings.HasPrefix(file, "broker:") { // a part of the section
			file = "broker: rabbitmq\nqueue: q\n" + strings.Replace(file, "rabbitmq:\n", "rabbitmq:\n  url: amqp://localhost/\n", 1)
		}
		lookup := func(string) (string, bool) { return "amqp://user@localhost/", true }
		if _, err := config.Parse("docs/rabbitmq.md", []byte(file), lookup, rabbit.Driver); err != nil {
			t.Errorf("%v\n%s", err, file)
		}
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
	found := blocks(page, language)
	for i := range found {
		found[i] = flatten(found[i])
	}
	return found
}

// blocks returns the page's blocks of a language.
func blocks(page, language string) (found []string) {
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```").FindAllStringSubmatch(page, -1) {
		found = append(found, m[1])
	}
	return found
}

// flatten makes texts equal that differ in indentation and alignment alone.
func flatten(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i := range lines {
		lines[i] = strings.Join(strings.Fields(lines[i]), " ")
	}
	return strings.Join(lines, "\n")
}
