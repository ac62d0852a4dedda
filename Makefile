# Every target sets up what it needs first: a Postgres, a nats-server, a C compiler.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup run test fuzz bench check demo sabotage

help: ## show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: ## install what is missing: Postgres, nats-server, a C compiler
	@.ci/setup

run: setup ## build the release binary and start the whole system on 127.0.0.1:3001
	cargo build --release --locked -p api --bin capitune
	exec target/release/capitune

test: setup ## run every test
	cargo test --workspace --locked --no-fail-fast

fuzz: setup ## made-up requests to every operation: no failure, no answer that is not described
	cargo build --workspace --locked
	.ci/schemathesis

bench: setup ## measure, and print the table of results
	cargo bench --locked -p api --bench table

check: setup ## format, lints, licences and sources of the dependencies
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	.ci/deny

demo: setup ## start the whole system and fill it with examples
	cargo build --release --locked -p api --bin capitune
	exec target/release/capitune demo

sabotage: setup ## break the product on purpose: the tests must notice each time
	.ci/sabotage
