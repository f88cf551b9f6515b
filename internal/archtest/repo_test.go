package archtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/anyqueue/anyqueue"

// root is the top of the repository, seen from this package's folder.
const root = "../.."

// source is one Go file of the repository.
type source struct {
	path string // from the root, with slashes
	text string
}

// sources returns every Go file of the repository, nested modules included.
//
// It reads them all although some tests ask the go command instead: files that a
// test opened are what the test cache compares, so this is what makes a cached
// result go stale when the code changes.
func sources(t *testing.T) []source {
	t.Helper()
	var found []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == ".cache" || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		found = append(found, source{filepath.ToSlash(rel), string(text)})
		return nil
	})
	if err != nil {
		t.Fatalf("read the repository's Go files: %v", err)
	}
	if len(found) == 0 {
		t.Fatalf("no Go files below %s", root)
	}
	return found
}

// want reports the faults that a check found.
func want(t *testing.T, faults, expected []string) {
	t.Helper()
	slices.Sort(faults)
	if !slices.Equal(faults, expected) {
		t.Errorf("faults found:\n  %s\nwanted:\n  %s", strings.Join(faults, "\n  "), strings.Join(expected, "\n  "))
	}
}
