package section

import (
	"strings"
	"testing"
)

// A section is replaced as a whole and nothing else is touched.
func TestSectionIsReplacedAndTheRestKept(t *testing.T) {
	first, err := replace("# Title\n", "x", "one")
	if err != nil {
		t.Fatal(err)
	}
	const want = "# Title\n\n<!-- begin x -->\n\none\n\n<!-- end x -->\n"
	if first != want {
		t.Fatalf("first = %q, want %q", first, want)
	}
	second, err := replace("before\n"+first+"after\n", "x", "two")
	if err != nil {
		t.Fatal(err)
	}
	if want := "before\n" + strings.Replace(want, "one", "two", 1) + "after\n"; second != want {
		t.Errorf("second = %q, want %q", second, want)
	}
	if _, err := replace("<!-- begin x -->\nmine", "x", "two"); err == nil {
		t.Error("a section without its end was replaced: what follows would be lost")
	}
}
