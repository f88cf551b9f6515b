#!/usr/bin/env bash
# What takes too long for `make test`, bounded to about half an hour on two
# cores: SEEDS random fault schedules (default 200,000), the refund job with
# 100,000 orders, SOAK (default 10m) of a failing handler at full speed, and a
# backlog of 1,000,000 messages of a RabbitMQ server. The figures of the last two
# go into docs/benchmarks.md.
source "$(dirname "$0")/lib.sh"

echo "== ${SEEDS:-200000} random fault schedules"
ANYQUEUE_SEEDS="${SEEDS:-200000}" go test -count=1 -timeout 60m -run '^TestRandomFaults' ./runtime

echo "== refund job, 100,000 orders"
go run ./examples/refund -orders 100000 -json

# Without a server the section of RabbitMQ stays as it is, and that is said.
if scripts/servers up rabbitmq; then
  eval "$(scripts/servers env rabbitmq)"
fi

echo "== backlog and failing handler"
mkdir -p docs
cd bench
go run ./cmd/soak -for "${SOAK:-10m}" -out ../docs/benchmarks.md
