package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// Bounds of a configuration file. They lie far above what anybody writes and
// keep a wrong file (a dump, a log, an attack) from costing anything.
const (
	maxFile  = 1 << 20
	maxDepth = 50
)

// syntax turns the bytes of a file into its one tree of nodes, or into a fault:
// what cannot be parsed cannot be looked at any further.
func syntax(data []byte) (*yaml.Node, *Fault) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if f := checkText(data); f != nil {
		return nil, f
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data),
		yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	if err != nil {
		return nil, &Fault{Line: 1, Column: 1, Problem: "cannot be read as YAML: " + err.Error(), cause: err}
	}
	var doc, second yaml.Node
	if err := loader.Load(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, emptyFile()
		}
		return nil, syntaxFault(data, err)
	}
	if err := loader.Load(&second); err == nil {
		f := at(&second, "a second document begins here; a file configures one worker, so keep one of them")
		return nil, &f
	} else if !errors.Is(err, io.EOF) {
		return nil, syntaxFault(data, err)
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, emptyFile()
	}
	return root, nil
}

func emptyFile() *Fault {
	return &Fault{Line: 1, Column: 1, Problem: "the file says nothing; it needs at least the keys broker and queue"}
}

// checkText refuses what is not plain UTF-8 text, with the position at which it
// stops being it.
func checkText(data []byte) *Fault {
	if len(data) > maxFile {
		return &Fault{Line: 1, Column: 1, Problem: fmt.Sprintf("the file is larger than %d bytes; is it the right one?", maxFile)}
	}
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return &Fault{Line: 1, Column: 1, Problem: "the file is encoded in UTF-16; save it as UTF-8"}
	}
	line, column := 1, 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return &Fault{Line: line, Column: column, Problem: fmt.Sprintf("the byte 0x%02x is not UTF-8; save the file as UTF-8", data[i])}
		case r == '\n':
			line, column = line+1, 0
		case r == '\r' && !bytes.HasPrefix(data[i:], []byte("\r\n")),
			r < ' ' && r != '\t' && r != '\r', r == 0x7f, r == '\ufeff',
			r >= 0x80 && r < 0xa0, r == '\u2028', r == '\u2029':
			// The last ones are line breaks to some readers and not to others.
			return &Fault{Line: line, Column: column, Problem: fmt.Sprintf("the control character %U cannot stand in a file; inside double quotes write it as an escape", r)}
		}
		column++
		i += size
	}
	return nil
}

// syntaxFault says where and why the parser gave up. The parser's own words name
// the state that it was in; what the text looks like there says more. No content
// is quoted: it could be a password that begins with a sign.
func syntaxFault(data []byte, err error) *Fault {
	lines := strings.Split(strings.TrimRight(string(data), "\r\n"), "\n")
	end := utf8.RuneCountInString(lines[len(lines)-1]) + 1
	f := &Fault{Line: len(lines), Column: end, Problem: "is not valid YAML"}
	loadErr, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		return f
	}
	if loadErr.Stage != yaml.ComposerStage { // which names the anchor that it did not find
		f.Problem += ": " + loadErr.Message
	}
	mark := loadErr.Mark
	if (mark.Line < 1 || mark.Line > len(lines)) && loadErr.ContextMark.Line >= 1 {
		mark = loadErr.ContextMark // the end of the file says nothing of a quote that was never closed
	}
	if mark.Line < 1 || mark.Line > len(lines) {
		return f
	}
	line := []rune(lines[mark.Line-1])
	f.Line, f.Column = mark.Line, min(max(mark.Column, 1), len(line)+1)
	f.Problem += syntaxHint(line, f.Column)
	return f
}

// syntaxHint returns what to do about text that stopped the parser at a column.
func syntaxHint(line []rune, column int) string {
	indent := 0
	for indent < len(line) && (line[indent] == ' ' || line[indent] == '\t') {
		indent++
	}
	if strings.ContainsRune(string(line[:indent]), '\t') {
		return "; the line is indented with a tab: use spaces"
	}
	if strings.Contains(string(line), "${") {
		return "; inside of [] and {} a value with ${NAME} needs quotes"
	}
	if column > len(line) {
		return ""
	}
	switch r := line[column-1]; r {
	case ':':
		return "; a text that holds a colon and a space needs quotes, or the lines above are not indented alike"
	case '&', '*', '!':
		return fmt.Sprintf("; anchors, aliases and tags are not supported, and a text that begins with %c needs quotes", r)
	case '@', '`', '%', '|', '>', ']', '}', ',':
		return fmt.Sprintf("; a text that begins with %c needs quotes", r)
	case '"', '\'':
		return "; is the quote closed?"
	case '\t':
		return "; use spaces in place of the tab"
	}
	return ""
}

// at returns a fault at a node.
func at(n *yaml.Node, format string, args ...any) Fault {
	return Fault{Line: n.Line, Column: n.Column, Problem: fmt.Sprintf(format, args...)}
}

// refuse reports what YAML allows and a configuration does not: anchors, aliases
// and merge keys, which would let a small file stand for an enormous one and a
// value stand where nobody sees it; and tags, which would change types.
func refuse(n *yaml.Node, report func(Fault)) {
	if n.Anchor != "" {
		report(at(n, "has an anchor (&); anchors and aliases are not supported: write the value out where it is used, or put a text that begins with & in quotes"))
	}
	if n.Style&yaml.TaggedStyle != 0 || n.Tag == "!" {
		report(at(n, "has a tag (!); tags are not supported: remove it, or put a text that begins with ! in quotes"))
	}
	if n.Kind == yaml.AliasNode {
		report(at(n, "is an alias (*); anchors and aliases are not supported: write the value out, or put a text that begins with * in quotes"))
		return
	}
	for _, child := range n.Content {
		refuse(child, report)
	}
}

// clip bounds text from the file that a fault quotes.
func clip(s string) string {
	const most = 40
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "..."
}
