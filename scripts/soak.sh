#!/usr/bin/env bash
# What takes too long for `make test`, bounded to about half an hour on two
# cores without a server, and some hours with one: SEEDS random fault schedules
# (default 200,000), the refund job with 100,000 orders, SOAK (default 10m) of a
# failing handler at full speed, a backlog of 1,000,000 messages of a RabbitMQ
# server, and each fault of its tests while FAULT_MESSAGES (default 500,000) flow.
# The figures of SOAK and of the backlog go into docs/benchmarks.md.
source "$(dirname "$0")/lib.sh"

echo "== ${SEEDS:-200000} random fault schedules"
ANYQUEUE_SEEDS="${SEEDS:-200000}" go test -count=1 -timeout 60m -run '^TestRandomFaults' ./runtime

echo "== refund job, 100,000 orders"
go run ./examples/refund -orders 100000 -json

# Without a server the section of RabbitMQ stays as it is, and that is said.
if scripts/servers up rabbitmq rabbitmq@faults; then
  eval "$(scripts/servers env)"
fi

echo "== backlog and failing handler"
mkdir -p docs
(cd bench && go run ./cmd/soak -for "${SOAK:-10m}" -out ../docs/benchmarks.md)

mkdir -p .cache
echo "== faults of RabbitMQ, ${FAULT_MESSAGES:-500000} messages each"
ANYQUEUE_FAULT_MESSAGES="${FAULT_MESSAGES:-500000}" go test -race -count=1 -v -timeout 6h \
  -run 'NothingIsLost|Stall|Latency|CorruptFrame|Queue|OriginalStays|MemoryAlarm|Killed|SlowHandler|ConsumerTimeout' ./rabbit |
  tee .cache/faults.log | grep -E '^(--- |ok|FAIL|PASS)'
