package telemetry

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
)

var update = flag.Bool("update", false, "rewrite the tables in doc.go and docs/telemetry.md")

// The tables in the package documentation and in docs/telemetry.md list exactly
// the metrics and spans that the code makes.
func TestDocumentationListsEveryMetricAndSpan(t *testing.T) {
	t.Run("doc.go", func(t *testing.T) {
		checkSection(t, "doc.go", "//	metric  ", "//\n", commentTable())
	})
	t.Run("docs/telemetry.md metrics", func(t *testing.T) {
		checkSection(t, "../docs/telemetry.md", "| metric |", "\n", metricTable())
	})
	t.Run("docs/telemetry.md spans", func(t *testing.T) {
		checkSection(t, "../docs/telemetry.md", "| span |", "\n", spanTable())
	})
	t.Run("docs/telemetry.md version", func(t *testing.T) {
		page := readFile(t, "../docs/telemetry.md")
		if want := "version " + SemconvVersion + " of"; !strings.Contains(page, want) {
			t.Errorf("docs/telemetry.md does not say %q", want)
		}
	})
}

// checkSection compares the lines of file from the first that begins with begin
// to the first after it that is end.
func checkSection(t *testing.T, file, begin, end, want string) {
	t.Helper()
	text := readFile(t, file)
	i := strings.Index(text, "\n"+begin)
	if i < 0 {
		t.Fatalf("%s has no line that begins with %q", file, begin)
	}
	i++
	n := strings.Index(text[i:], "\n"+end)
	if n < 0 {
		t.Fatalf("%s: the table has no end", file)
	}
	n++
	if text[i:i+n] == want {
		return
	}
	if !*update {
		t.Fatalf("%s is out of step; run go test ./telemetry -run Documentation -update\ngot:\n%s\nwant:\n%s", file, text[i:i+n], want)
	}
	if err := os.WriteFile(file, []byte(text[:i]+want+text[i+n:]), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (d definition) attributeNames() string {
	names := []string{d.shared.name}
	for _, k := range d.more {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

func commentTable() string {
	rows := [][]string{{"metric", "kind", "unit", "attributes"}}
	for _, d := range catalog {
		rows = append(rows, []string{d.name, d.kind, d.unit, d.attributeNames()})
	}
	var widths [4]int
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	var rule []string
	for _, w := range widths {
		rule = append(rule, strings.Repeat("-", w))
	}
	var b strings.Builder
	for _, row := range slices.Insert(rows, 1, rule) {
		line := fmt.Sprintf("//\t%-*s  %-*s  %-*s  %s", widths[0], row[0], widths[1], row[1], widths[2], row[2], row[3])
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

func metricTable() string {
	var b strings.Builder
	b.WriteString("| metric | kind | unit | attributes | what it says |\n|---|---|---|---|---|\n")
	for _, d := range catalog {
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s | %s |\n", d.name, d.kind, d.unit, d.attributeNames(), d.description)
	}
	return b.String()
}

// spanDefinition is one kind of span, for the documentation and for the test
// that compares it with recorded spans.
type spanDefinition struct {
	name, kind, parent, links string
	attributes                []attribute.Key
}

func spanTable() string {
	var b strings.Builder
	b.WriteString("| span | kind | parent | links | attributes |\n|---|---|---|---|---|\n")
	for _, d := range spanCatalog {
		var names []string
		for _, k := range d.attributes {
			names = append(names, "`"+string(k)+"`")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", d.name, d.kind, d.parent, d.links, strings.Join(names, ", "))
	}
	return b.String()
}
