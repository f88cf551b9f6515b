#!/usr/bin/env bash
# Measures and writes docs/benchmarks.md. Takes some minutes; leave the machine
# alone meanwhile.
source "$(dirname "$0")/lib.sh"

mkdir -p docs
cd bench
exec go run ./cmd/benchreport -out ../docs/benchmarks.md "$@"
