# Everything that is run by hand or by CI. The work is done by scripts/, so that
# it can be read and run without make. Needs Go and bash; the first `make lint`
# (part of `make test`) downloads and builds its pinned linter.

.DEFAULT_GOAL := help
.PHONY: help test lint fmt generate cross bench soak fuzz cover servers

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' Makefile

test: ## everything that must hold before a change is merged
	@scripts/test.sh

lint: ## golangci-lint with .golangci.yml, pinned
	@scripts/lint.sh run

fmt: ## gofumpt and goimports, in place
	@scripts/lint.sh fmt

generate: ## the JSON Schema and the tables of metrics, from the code
	@go test ./config ./telemetry ./internal/docs -update

cross: ## build and vet for linux, darwin and windows on amd64 and arm64
	@scripts/cross.sh

bench: ## measure everything in bench/ and write docs/benchmarks.md
	@scripts/bench.sh

soak: ## the long tests, and their figures into docs/benchmarks.md
	@scripts/soak.sh

fuzz: ## each fuzz target for FUZZTIME (default 20s)
	@scripts/fuzz.sh

cover: ## statement coverage per package; report in .cache/cover.html
	@scripts/cover.sh

servers: ## start the real servers that the tests use, and show them
	@scripts/servers up && scripts/servers status
