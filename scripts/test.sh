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

# servers starts what the tests run against, and says it. What the tests kill and
# freeze is an instance of its own. A server that cannot be had is a note, and its
# tests skip; in CI it is an error. An adapter that the script knows no server for
# is an error everywhere.
servers() {
  local adapter folder name rc=0
  scripts/servers up rabbitmq rabbitmq4 rabbitmq@faults || rc=1
  scripts/servers status || rc=1
  echo "memory             embedded"
  for adapter in rabbit:rabbitmq sqs:sqs kafka:kafka; do
    folder="${adapter%%:*}" name="${adapter#*:}"
    if [[ -d "$folder" ]] && ! scripts/servers status "$name" >/dev/null 2>&1; then
      echo "error: $folder/ exists, but scripts/servers knows no server called $name to test it against" >&2
      rc=1
    fi
  done
  return "$rc"
}

# Servers that ran before stay.
ran_before="$(scripts/servers running)"
end_servers() {
  local n
  for n in $(scripts/servers started); do
    grep -qx "$n" <<<"$ran_before" || scripts/servers down "$n" || true
  done
}
trap end_servers EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The full number of schedules, whatever a developer tried last.
unset ANYQUEUE_SEED ANYQUEUE_SEEDS ANYQUEUE_FAULT_MESSAGES ANYQUEUE_FAULT_SERVER

race="$(race_flag)"

step "servers" servers
eval "$(scripts/servers env)"
step "the script of the servers" scripts/servers_test.sh
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
go test $race -count=1 -parallel 8 -timeout 12m ./... || failed+=("tests")

if ((${#failed[@]})); then
  printf '\nFAILED: %s\n' "$(IFS=,; echo "${failed[*]}")" >&2
  exit 1
fi
