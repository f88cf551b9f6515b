#!/usr/bin/env bash
# Fuzzes every target in the library for FUZZTIME (default 20s) each.
source "$(dirname "$0")/lib.sh"

count=0 failed=0
listed="$(go test -list '^Fuzz' ./...)" # the targets of a package, then "ok <package>"
while read -r package target; do
  echo "fuzz: $package $target"
  go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-20s}" "$package" || failed=1
  count=$((count + 1))
done < <(awk '/^Fuzz/{t[n++]=$1} /^ok/{for(i=0;i<n;i++)print $2,t[i]; n=0}' <<<"$listed")

echo "fuzz: $count targets, ${FUZZTIME:-20s} each"
exit "$failed"
