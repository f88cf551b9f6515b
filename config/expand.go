package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// variable is the form of an expansion. The JSON Schema accepts the same form
// wherever a scalar may stand.
const variablePattern = `\$\{[A-Za-z_][A-Za-z0-9_]*(:[-?][^{}]*)?\}`

var isVariable = regexp.MustCompile(`^` + variablePattern)

// expand replaces ${NAME}, ${NAME:-default}, ${NAME:?message} and $$ in the text
// of one scalar. What a variable holds is not expanded again and not parsed as
// YAML: it is text, whatever stands in it. The result is at most limit bytes
// longer than the text.
//
// Errors never quote the text, which may hold a secret beside the variable.
func expand(text string, limit int, lookup func(string) (string, bool)) (expanded string, used bool, err error) {
	limit += len(text)
	var out strings.Builder
	for {
		dollar := strings.IndexByte(text, '$')
		if dollar < 0 {
			out.WriteString(text)
			return out.String(), used, nil
		}
		out.WriteString(text[:dollar])
		text = text[dollar:]
		if after, escaped := strings.CutPrefix(text, "$$"); escaped {
			out.WriteByte('$')
			text = after
			continue
		}
		form := isVariable.FindString(text)
		if form == "" {
			return "", false, errors.New("has a $ that is neither ${NAME}, ${NAME:-default} nor ${NAME:?message}; write $$ for a dollar sign")
		}
		value, err := resolve(form[2:len(form)-1], lookup)
		if err != nil {
			return "", false, err
		}
		used = true
		out.WriteString(value)
		text = text[len(form):]
		if out.Len()+len(text) > limit {
			return "", false, fmt.Errorf("grows too long: variables may add %d bytes to a file", maxExpansion)
		}
	}
}

// maxExpansion bounds what variables add to all scalars of a file.
const maxExpansion = 1 << 20

// resolve returns the value of what stands between the braces. As in a shell,
// the forms with a colon treat an empty variable like a missing one.
func resolve(inner string, lookup func(string) (string, bool)) (string, error) {
	name, rest, colon := strings.Cut(inner, ":")
	value, ok := lookup(name)
	if !colon {
		if !ok {
			return "", fmt.Errorf("needs the environment variable %s, which is not set; set it, or write ${%s:-default}", name, name)
		}
		return value, nil
	}
	if value != "" {
		return value, nil
	}
	if fallback, ok := strings.CutPrefix(rest, "-"); ok {
		return fallback, nil
	}
	if message := strings.TrimSpace(rest[1:]); message != "" {
		return "", fmt.Errorf("needs the environment variable %s, which is not set or empty: %s", name, message)
	}
	return "", fmt.Errorf("needs the environment variable %s, which is not set or empty", name)
}

// maxSecret bounds a secret's file.
const maxSecret = 64 << 10

// readSecret returns what stands in a secret's file without the line break at
// its end. A relative path is relative to dir.
func readSecret(dir, path string) (string, error) {
	if path == "" {
		return "", errors.New("names no file; write file:/run/secrets/name")
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	data, err := readRegular(path, maxSecret)
	if err != nil {
		return "", fmt.Errorf("cannot be read from its file: %w", err)
	}
	if line, cut := bytes.CutSuffix(data, []byte("\n")); cut {
		data = bytes.TrimSuffix(line, []byte("\r"))
	}
	if len(data) == 0 {
		return "", fmt.Errorf("is read from %s, which is empty; write the secret into it", path)
	}
	return string(data), nil
}

// readRegular reads a file of at most limit bytes. Only a regular file: opening
// a pipe could wait for ever, and a device has no end.
func readRegular(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return data, nil
}
