#!/usr/bin/env bash
# Statement coverage, each package covered by all tests of the library: the
# adapters are tested by broker/brokertest as much as by their own tests.
source "$(dirname "$0")/lib.sh"

mkdir -p .cache
packages="$(go list ./... | grep -v -e /examples -e /internal/ | paste -sd, -)"
go test -coverpkg="$packages" -coverprofile=.cache/cover.out ./... | sed 's/coverage: .*//'
go tool cover -html=.cache/cover.out -o .cache/cover.html
# A block is listed once per test binary; it is covered if any of them ran it.
awk -F'[ :]' 'NR > 1 {
  key = $1 ":" $2; stmts[key] = $3; hit[key] += $4
}
END {
  for (key in stmts) {
    pkg = key; sub(/\/[^\/]*$/, "", pkg)
    total[pkg] += stmts[key]
    if (hit[key] > 0) covered[pkg] += stmts[key]
  }
  for (pkg in total) printf "%5.1f%%  %s\n", 100 * covered[pkg] / total[pkg], pkg
}' .cache/cover.out | sort -k2
echo "cover: report in .cache/cover.html"
