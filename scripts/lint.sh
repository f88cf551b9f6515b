#!/usr/bin/env bash
# Usage: lint.sh run|fmt. Runs the pinned golangci-lint on every module. It is
# kept out of go.mod: a linter's dependencies are no business of the library's.
source "$(dirname "$0")/lib.sh"

version=v2.15.0

# A linter must be built with the Go that it checks, so the cache is per Go version.
tools="${ANYQUEUE_TOOLS:-${XDG_CACHE_HOME:-${HOME:-$PWD/.cache}/.cache}/anyqueue-tools}"
bin="$tools/golangci-lint-$version-$(go env GOVERSION)"

if [[ ! -x "$bin/golangci-lint" ]]; then
  echo "lint: installing golangci-lint $version into $bin (some minutes, once)" >&2
  if ! GOBIN="$bin" go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$version" >&2; then
    note_or_fail "golangci-lint $version could not be installed (no network?), and without it nothing is linted"
    exit
  fi
fi

case "${1:-run}" in
run) in_modules "$bin/golangci-lint" run ./... ;;
fmt) in_modules "$bin/golangci-lint" fmt ./... ;;
*)
  echo "usage: lint.sh run|fmt" >&2
  exit 2
  ;;
esac
