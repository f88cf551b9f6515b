#!/usr/bin/env bash
# Runs every program below examples/ on the embedded broker. Each must end by
# itself, within a minute, with exit code 0.
source "$(dirname "$0")/lib.sh"

limit=60
bin="$(mktemp -d)"
trap 'rm -rf "$bin"' EXIT

# Not `timeout`: macOS has none.
run_limited() {
  "$@" >"$bin/out" 2>&1 </dev/null &
  local pid=$! waited=0 rc=0
  while kill -0 "$pid" 2>/dev/null; do
    if ((waited++ >= limit * 10)); then
      kill -9 "$pid" 2>/dev/null || true
      wait "$pid" 2>/dev/null || true
      echo "did not end within $limit s" >>"$bin/out"
      return 1
    fi
    sleep 0.1
  done
  wait "$pid" || rc=$?
  return "$rc"
}

failed=0
mains="$(go list -f '{{if eq .Name "main"}}{{.Dir}}{{end}}' ./examples/...)"
for dir in $mains; do
  name="${dir##*/}"
  go build -o "$bin/$name.exe" "$dir"
  if (cd "$dir" && run_limited "$bin/$name.exe"); then
    echo "examples: $name ran"
  else
    echo "error: examples/$name failed:" >&2
    tail -n 40 "$bin/out" >&2
    failed=1
  fi
done
exit "$failed"
