package docs

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every test that docs/faults.md names exists.
func TestNamedGuardsExist(t *testing.T) {
	named := regexp.MustCompile("`([a-z]+)\\.(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(read(t, filepath.Join(root, "docs", "faults.md")), -1)
	if len(named) < 20 {
		t.Fatalf("only %d tests are named", len(named))
	}
	sources := map[string]string{}
	for _, m := range named {
		pkg, name := m[1], m[2]
		if sources[pkg] == "" {
			files, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				sources[pkg] += read(t, f)
			}
		}
		if !strings.Contains(sources[pkg], "func "+name+"(") {
			t.Errorf("docs/faults.md names %s.%s, which does not exist", pkg, name)
		}
	}
}
