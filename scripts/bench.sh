#!/usr/bin/env bash
# Measures and writes docs/benchmarks.md. Takes some minutes; leave the machine
# alone meanwhile.
source "$(dirname "$0")/lib.sh"

# Without a server the section of RabbitMQ stays as it is, and that is said.
if scripts/servers up rabbitmq; then
  eval "$(scripts/servers env rabbitmq)"
fi

mkdir -p docs
cd bench
exec go run ./cmd/benchreport -out ../docs/benchmarks.md "$@"
