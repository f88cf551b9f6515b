package config
import ("testing";"strings";"time")
func TestZZ(t *testing.T){
 for _, unit := range []string{"a\n","a: b\n", "- ", "[]\n,", "{a: b},", "? a\n", "'' ", "# x\n", "&a ", "*a\n", "a:\n", "\"", " \n", "a: |\n", "${A}", "$$", "!a ", "--- \n", "x", "\t", "- a\n", "%a\n", "a: {b: c, d: [e, f]}\n"} {
  for _, pre := range []string{"", "[", "broker: fake\nqueue: ", "fake:\n  labels: {", "a: "} {
   s := pre + strings.Repeat(unit, (1<<20-100)/len(unit))
   start := time.Now(); Parse("w.yaml", []byte(s), env("A","1"), (&fake{}).driver(""))
   if d := time.Since(start); d > 700*time.Millisecond { t.Logf("%q %q %v", pre, unit, d) }
  }
 }
}
