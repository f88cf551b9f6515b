#!/usr/bin/env bash
# Builds and vets every module for every platform that is supported.
source "$(dirname "$0")/lib.sh"

for target in {linux,darwin,windows}/{amd64,arm64}; do
  export GOOS="${target%/*}" GOARCH="${target#*/}" CGO_ENABLED=0
  in_modules go build -o /dev/null ./...
  in_modules go vet ./...
  echo "cross: $target builds and vets"
done
