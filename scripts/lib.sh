# Shared by the scripts here; sourced, not run.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# modules are the folders with a go.mod: the library, and what must stay out of
# its dependencies.
modules=(. bench)

ci() { [[ "${CI:-}" == true || "${CI:-}" == 1 ]]; }

# note_or_fail MESSAGE: what a user's machine may lack, CI may not.
note_or_fail() {
  if ci; then
    echo "error: $1" >&2
    return 1
  fi
  echo "note: $1" >&2
}

# in_modules COMMAND...: runs it in each module; fails when any of them failed.
in_modules() {
  local m failed=0
  for m in "${modules[@]}"; do
    (cd "$m" && "$@") || failed=1
  done
  return "$failed"
}

# race_flag prints -race where the race detector can run: it needs a C compiler
# except on macOS.
race_flag() {
  if [[ "$(go env CGO_ENABLED)" == 1 || "$(go env GOOS)" == darwin ]]; then
    printf '%s\n' -race
    return
  fi
  note_or_fail "no C compiler (CGO_ENABLED=0): tests run without the race detector; install gcc or clang for the whole check"
}
