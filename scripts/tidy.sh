#!/usr/bin/env bash
# Checks that go.mod and go.sum of every module say what the code needs.
source "$(dirname "$0")/lib.sh"

check() {
  local diff err rc=0
  err="$(mktemp)"
  diff="$(go mod tidy -diff 2>"$err")" || rc=$?
  if [[ -n "$diff" ]]; then
    echo "$diff"
    echo "error: $PWD: go.mod or go.sum is not tidy; run go mod tidy there" >&2
  elif [[ "$rc" != 0 ]]; then
    tail -n 2 "$err" >&2
    rc=0
    note_or_fail "$PWD: go mod tidy could not be checked (no network?)" || rc=1
  else
    echo "tidy: $PWD"
  fi
  rm -f "$err"
  return "$rc"
}

in_modules check
