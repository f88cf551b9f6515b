#!/usr/bin/env bash
# Says which brokers the tests run against on this machine. A broker whose
# adapter exists must have a probe here, so that no adapter is left untested in
# silence.
source "$(dirname "$0")/lib.sh"

echo "servers: memory: embedded, tested"
for adapter in rabbit:RabbitMQ sqs:SQS kafka:Kafka; do
  folder="${adapter%%:*}" name="${adapter#*:}"
  if [[ -d "$folder" ]]; then
    echo "error: $folder/ exists, but scripts/servers.sh does not know how to find a $name to test it against" >&2
    exit 1
  fi
  echo "servers: $name: no adapter yet, nothing to test"
done
