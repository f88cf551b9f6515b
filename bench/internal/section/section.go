// Package section keeps what programs write into a Markdown file apart from what
// people write there.
package section

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// intro begins a file that does not exist yet.
const intro = `# Benchmarks

Sections between markers are written by a program and replaced as a whole when it
runs again; what stands outside of them is kept.
`

// Write replaces the part of a Markdown file that the markers of a name
// enclose. Where there is none it is appended, and a file that does not exist is
// made.
func Write(path, name, text string) error {
	old, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		old = []byte(intro)
	case err != nil:
		return err
	}
	updated, err := replace(string(old), name, text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(updated), 0o644)
}

func replace(file, name, text string) (string, error) {
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->\n"
	section := begin + "\n" + strings.Trim(text, "\n") + "\n\n" + end
	before, rest, found := strings.Cut(file, begin)
	if !found {
		return strings.TrimRight(file, "\n") + "\n\n" + section, nil
	}
	_, after, closed := strings.Cut(rest, end)
	if !closed {
		return "", fmt.Errorf("has %q without %q: restore the marker or delete the section", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return before + section + after, nil
}
