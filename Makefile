# The two commands of the README are `make demo` and `make test`; the rest is for those who work on the code.

.DEFAULT_GOAL := help
.PHONY: help demo test compat build check fmt lint tidy deny bench tools

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

tools: ## install what is missing (as root on Debian), or name it
	@./scripts/ensure-tools.sh

build: tools ## build the release binary, target/release/strongroom
	cargo build --release --locked --package strongroom

demo: build ## the main job, told on the terminal: a database user that lives as long as its application
	./demo/demo.sh

# All is built before the first test starts, target/debug/strongroom too, which the black box tests start, and the
# examples, which --all-targets would build as tests instead. One build for all: a build of the program alone would have
# other features, and compile most of it twice. The examples in the documentation are fragments that no test runs.
test: tools ## run every test; they start the servers and databases they need
	cargo test --workspace --locked --no-fail-fast

# hvac is a part of `make test`. BLESS=1 writes anew which calls pass.
compat: tools ## run clients that others wrote (needs python3, go, npm, mvn and their registries)
	STRONGROOM_COMPAT=all cargo test --locked --package strongroom --test compat -- --nocapture

check: fmt lint tidy deny ## everything a change must pass besides the tests

fmt: ## the sources are formatted
	cargo fmt --all --check

lint: ## clippy has nothing to say
	cargo clippy --workspace --all-targets --locked -- --deny warnings

tidy: ## the repository keeps its own rules
	cargo run --quiet --locked --package xtask -- tidy

# Advisories need the network and change by the day; they are looked at before a release.
deny: ## licences, sources and banned crates (where cargo-deny is installed)
	@if cargo deny --version >/dev/null 2>&1; then cargo deny --locked check bans licenses sources; \
	else echo "cargo-deny is not installed: licences, sources and bans are not checked"; fi

bench: build ## measure, each figure against a limit or a peer of the same run
	cargo run --release --locked --package strongroom-bench
