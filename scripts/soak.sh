#!/usr/bin/env bash
# What takes too long for `make test`, bounded to about half an hour on two
# cores: SEEDS random fault schedules (default 200,000), the refund job with
# 100,000 orders, and SOAK (default 10m) of a failing handler at full speed. The
# figures of the last go into docs/benchmarks.md.
source "$(dirname "$0")/lib.sh"

echo "== ${SEEDS:-200000} random fault schedules"
ANYQUEUE_SEEDS="${SEEDS:-200000}" go test -count=1 -timeout 60m -run '^TestRandomFaults' ./runtime

echo "== refund job, 100,000 orders"
go run ./examples/refund -orders 100000 -json

echo "== backlog and failing handler"
mkdir -p docs
cd bench
go run ./cmd/soak -for "${SOAK:-10m}" -out ../docs/benchmarks.md
