#!/usr/bin/env bash
# The whole check. Every step runs even after one failed, so that one run tells
# all that is wrong; the tests come last, so that their own lines close it.
source "$(dirname "$0")/lib.sh"

failed=()
step() {
  local name="$1" start=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  "$@" || failed+=("$name")
  printf '   (%s: %d s)\n' "$name" $((SECONDS - start))
}

once() { go test -run '^$' -bench . -benchtime 1x ./... | awk '!/no test files/ && !/^PASS$/'; }

# The full number of schedules, whatever a developer tried last.
unset ANYQUEUE_SEED ANYQUEUE_SEEDS

race="$(race_flag)"

step "servers" scripts/servers.sh
step "tidy" scripts/tidy.sh
step "lint" scripts/lint.sh run
step "cross" scripts/cross.sh
step "examples" scripts/examples.sh
step "benchmarks, once each" in_modules once
# Under the race detector the property tests try fewer schedules.
step "tests at full size, without the race detector" go test ./runtime ./memory
step "tests of the benchmark module" bash -c 'cd bench && go test ./...'

printf '\n== tests %s\n' "${race:-(without the race detector)}"
# shellcheck disable=SC2086 # the flag is one word or none
go test $race -timeout 8m ./... || failed+=("tests")

if ((${#failed[@]})); then
  printf '\nFAILED: %s\n' "$(IFS=,; echo "${failed[*]}")" >&2
  exit 1
fi
