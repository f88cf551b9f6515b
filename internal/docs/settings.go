package docs

import (
	"fmt"
	"reflect"
	"strings"
)

// Settings renders the table of an adapter's settings from its struct, as Markdown:
// the keys of the section in a configuration file with the defaults and explanations
// that their tags hold.
func Settings(settings any) string {
	var b strings.Builder
	b.WriteString("| setting | default | |\n|---|---|---|\n")
	settingRows(&b, "", reflect.TypeOf(settings))
	return b.String()
}

func settingRows(b *strings.Builder, prefix string, t reflect.Type) {
	for f := range t.Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if key == "-" || !f.IsExported() {
			continue
		}
		path := prefix + key
		def := f.Tag.Get("default")
		switch {
		case f.Tag.Get("required") == "true":
			def = "required"
		case def != "":
			def = "`" + def + "`"
			if strings.Contains(def, " ") {
				def = strings.Trim(def, "`")
			}
		}
		text := f.Tag.Get("doc")
		if enum := f.Tag.Get("enum"); enum != "" {
			text = strings.TrimSuffix(text, ".") + ". One of `" + strings.ReplaceAll(enum, ",", "`, `") + "`."
		}
		if negative := f.Tag.Get("negative"); negative != "" {
			text += " Negative: " + negative + "."
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", path, def, text)
		switch {
		case f.Type.Kind() == reflect.Struct && f.Type.PkgPath() == t.PkgPath():
			settingRows(b, path+".", f.Type)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			settingRows(b, path+"[].", f.Type.Elem())
		}
	}
}
