package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"strings"
	"testing"
)

// Every exported symbol of every public package says what it is, and every
// public package has an introduction.
func TestPublicAPIIsDocumented(t *testing.T) {
	want(t, docFaults(t, publicSources(sources(t))), nil)
}

// Each kind of symbol without a comment is detected.
func TestUndocumentedSymbolsAreDetected(t *testing.T) {
	const text = `package p

func F() {}
func f() {}

type T struct{ Field int }
func (T) M() {}
func (t *T) Error() string { return "" }

type I interface { M(); m() }

type WorkerOptions struct {
	Documented int // documented
	// Size and Wait are documented together.
	Size int
	Wait int
	Tagged int ` + "`doc:\"What it is.\"`" + `
	Bare int
	private int
}

const C = 1

// Documented is documented.
const Documented = 1

var (
	// V is documented.
	V = 1
	W = 2
)

// A group may be documented as a whole.
const (
	X = 1
	Y = 2
)
`
	want(t, docFaults(t, []source{{"p/p.go", text}}), []string{
		"p: const C has no doc comment",
		"p: field WorkerOptions.Bare has no doc comment",
		"p: func F has no doc comment",
		"p: func T.M has no doc comment",
		"p: method I.M has no doc comment",
		"p: package p has no doc comment",
		"p: type I has no doc comment",
		"p: type T has no doc comment",
		"p: type WorkerOptions has no doc comment",
		"p: var W has no doc comment",
	})
}

// publicSources keeps what users of the library can import.
func publicSources(all []source) []source {
	var public []source
	for _, s := range all {
		dir := "/" + path.Dir(s.path) + "/"
		if strings.HasSuffix(s.path, "_test.go") || strings.Contains(dir, "/internal/") ||
			strings.HasPrefix(dir, "/cmd/") || strings.HasPrefix(dir, "/examples/") || strings.HasPrefix(dir, "/bench/") {
			continue
		}
		public = append(public, s)
	}
	return public
}

// docFaults names what lacks a comment, package by package.
func docFaults(t *testing.T, files []source) []string {
	t.Helper()
	introduced := make(map[string]bool)
	var d documenter
	for _, s := range files {
		f, err := parser.ParseFile(token.NewFileSet(), s.path, s.text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatalf("parse %s: %v", s.path, err)
		}
		d.dir = path.Dir(s.path)
		introduced[d.dir] = introduced[d.dir] || f.Doc != nil
		for _, decl := range f.Decls {
			d.decl(decl)
		}
	}
	for dir, ok := range introduced {
		d.need("package", path.Base(dir), ok, dir)
	}
	return d.faults
}

type documenter struct {
	dir    string
	faults []string
}

func (d *documenter) need(kind, name string, documented bool, dir string) {
	if !documented {
		d.faults = append(d.faults, fmt.Sprintf("%s: %s %s has no doc comment", dir, kind, name))
	}
}

func (d *documenter) decl(decl ast.Decl) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		name := decl.Name.Name
		if decl.Recv != nil {
			receiver := receiverName(decl.Recv.List[0].Type)
			if !ast.IsExported(receiver) || wellKnown[name] {
				return
			}
			name = receiver + "." + name
		}
		if ast.IsExported(decl.Name.Name) {
			d.need("func", name, decl.Doc != nil, d.dir)
		}
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			d.spec(decl, spec)
		}
	}
}

func (d *documenter) spec(decl *ast.GenDecl, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if !spec.Name.IsExported() {
			return
		}
		alone := !decl.Lparen.IsValid() && decl.Doc != nil
		d.need("type", spec.Name.Name, alone || spec.Doc != nil, d.dir)
		switch typ := spec.Type.(type) {
		case *ast.InterfaceType:
			for _, m := range typ.Methods.List {
				for _, name := range m.Names {
					if name.IsExported() {
						d.need("method", spec.Name.Name+"."+name.Name, m.Doc != nil || m.Comment != nil, d.dir)
					}
				}
			}
		case *ast.StructType:
			if optionsType.MatchString(spec.Name.Name) {
				d.fields(spec.Name.Name, typ)
			}
		}
	case *ast.ValueSpec: // a group's comment speaks for all of it
		for _, name := range spec.Names {
			if name.IsExported() {
				d.need(decl.Tok.String(), name.Name, decl.Doc != nil || spec.Doc != nil || spec.Comment != nil, d.dir)
			}
		}
	}
}

// optionsType matches the structs that a user fills in: each field is API.
var optionsType = regexp.MustCompile(`(Options|Policy|Config|Settings)$`)

// fields wants each exported field of an options struct explained, by its own
// comment, by one that names it ("BatchSize and BatchWait are ..."), or by the
// doc tag of which the schema of configuration files is made.
func (d *documenter) fields(typeName string, typ *ast.StructType) {
	var comments strings.Builder
	for _, f := range typ.Fields.List {
		comments.WriteString(f.Doc.Text() + f.Comment.Text())
	}
	for _, f := range typ.Fields.List {
		for _, name := range f.Names {
			if !name.IsExported() {
				continue
			}
			named := regexp.MustCompile(`\b` + name.Name + `\b`).MatchString(comments.String())
			tagged := f.Tag != nil && strings.Contains(f.Tag.Value, `doc:"`)
			d.need("field", typeName+"."+name.Name, named || tagged || f.Doc != nil || f.Comment != nil, d.dir)
		}
	}
}

// wellKnown are methods whose meaning the standard library defines.
var wellKnown = map[string]bool{"Error": true, "String": true, "Len": true, "Less": true, "Swap": true}

func receiverName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiverName(e.X)
	case *ast.IndexExpr:
		return receiverName(e.X)
	case *ast.IndexListExpr:
		return receiverName(e.X)
	case *ast.Ident:
		return e.Name
	default:
		return ""
	}
}
