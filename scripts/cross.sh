#!/usr/bin/env bash
# Builds and vets the library and its programs for every platform that is
# supported, and vets the benchmark module where its code differs.
source "$(dirname "$0")/lib.sh"

for target in {linux,darwin,windows}/{amd64,arm64}; do
  export GOOS="${target%/*}" GOARCH="${target#*/}" CGO_ENABLED=0
  go build -o /dev/null ./...
  go vet ./...
  echo "cross: $target builds and vets"
done

(cd bench && GOOS=windows GOARCH=amd64 go vet ./...)
echo "cross: bench vets for windows/amd64"
