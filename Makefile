# The commands that people need. `make` alone lists them.
# A fresh machine needs a Rust toolchain, a C compiler and make; the rest is found, installed or started.

STATE ?= .sortie
FORM ?= quick

.PHONY: help run test check bench build dist profile clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1|/p' Makefile | column -t -s '|'

run: ## build, start everything in one process, show three actions at work, stay up
	@deploy/python/prepare $(STATE)/python >/dev/null
	@cargo build --release --locked --quiet --bin sortie
	@exec target/release/sortie demo --data $(STATE)/data --python $(STATE)/python/bin/python

test: ## run every test; RabbitMQ and Redis are found or started
	@tests/run

check: ## what a change must pass besides the tests: format, lints
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --features fault-runs --locked --quiet -- -D warnings
	@cargo clippy --workspace --test attacks --test endurance --locked --quiet -- -D warnings

bench: ## measure, and print the figures, in 7 minutes; FORM=full takes 40 (tests/bench/README.md says what they mean)
	@tests/bench/run all $(FORM)

build: ## the release binary, target/release/sortie
	@cargo build --release --locked --bin sortie

dist: ## the binary for production, target/dist/sortie: takes longer to build, and less for each job
	@cargo build --profile dist --locked --bin sortie

profile: ## a release build for perf, with line tables and frame pointers (deploy/slow-jobs.md says how)
	@RUSTFLAGS="-C force-frame-pointers=yes" cargo build --profile profiling --locked --quiet --bin sortie
	@echo 'target/profiling/sortie is there. perf record -F 499 -g -p PID -- sleep 10, then perf report --no-children'

clean: ## remove what was built and prepared
	@cargo clean --quiet
	@rm -rf $(STATE)
