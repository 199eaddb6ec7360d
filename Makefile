# The only entry point. `make` alone lists the targets.
.DEFAULT_GOAL := help
.PHONY: help run lab deps-docker images images-offline secrets test test-compose test-full fmt check bench bench-lb bench-storage fuzz matrix docs deny sqlx openapi setup setup-bench setup-network setup-test clean

TARGET := $(or $(CARGO_TARGET_DIR),target)
# Where rustup puts cargo, for shells that have not been told.
export PATH := $(PATH):$(HOME)/.cargo/bin

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: setup ## Run the whole stack on this machine (ARGS="--quiz 4 --port 8080 --state DIR")
	cargo build --release --workspace --bins --locked
	@exec $(TARGET)/release/quiz-lab run $(ARGS)

lab: setup-network ## Run the scenario with a network namespace for each host; needs root (ARGS="--servers 4"; docs/lab.md)
	cargo build --release --workspace --bins --locked
	@$(TARGET)/release/quiz-lab create $(ARGS)

deps-docker: ## Install a container engine, Compose v2 and buildx on a bare Debian, and start the engine; needs root
	@compose/build/deps.sh

images: secrets ## Build the images of the stack in containers (TAG=local)
	@compose/build/images.sh $(TAG)

images-offline: secrets ## The same where no registry can be reached: base images are made of Debian packages; needs root
	@compose/build/bases.sh
	@compose/build/images.sh $(TAG)

secrets: ## Write the secrets of the stack in containers, once, to compose/secrets
	@compose/bin/secrets

test: setup-test ## Run every check and test
	@lab/scripts/test.sh

test-compose: setup-test ## Build the images and run the tests of the stack in containers, which are a part of make test; needs root
	@lab/scripts/test-compose.sh

test-full: test ## Run every test, and the long versions of some (two hours)
	@lab/scripts/test-full.sh

fmt: ## Format the code
	cargo fmt --all

check: ## Check format, lints and docs without running a test
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy -p quiz-storage --features simulation --lib --test simulation --locked -- -D warnings
	cargo clippy -p quiz-lb --features tls --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

bench: setup-bench ## Measure the site beside its peers and write docs/performance.md (root for all of it; ARGS="--only list,cached --rounds 5 --seconds 3")
	cargo build --profile dist --workspace --bins --locked
	cargo build --profile dist -p quiz-lb --example bare --locked
	cargo build --profile dist -p quiz-lab --example site-bench --locked
	@exec $(TARGET)/dist/examples/site-bench --markdown docs/performance.md $(ARGS)

bench-lb: setup ## Measure the balancer beside HAProxy, nginx and a bare Pingora (ROUNDS=5 SECONDS=2; exits with 1 if a bar is missed)
	cargo build --profile dist -p quiz-lb --bins --example bare --locked
	@lab/scripts/bench-lb.sh $(TARGET)/dist/quiz-lb $(TARGET)/dist/examples/bare $(ROUNDS) $(SECONDS)

bench-storage: setup ## Measure the storage nodes beside GlusterFS on the same disk (needs root; ARGS="--rounds 3 --seconds 3")
	cargo build --profile dist -p quiz-storage --bins --examples --locked
	@mkdir -p $(TARGET)/dist/storage-bench && cp $(TARGET)/dist/quiz-storage $(TARGET)/dist/examples/bench $(TARGET)/dist/storage-bench/
	@lab/scripts/bench-storage.sh $(TARGET)/dist/storage-bench $(ARGS)

fuzz: setup ## Fuzz what parses bytes in the balancer (SECS=600 for each target; the corpus that make test replays is not changed)
	@command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	@# Coverage needs flags that the stable compiler has but hides. There is no unsafe code of ours for a sanitizer to watch.
	@cd lb && for target in config proxy_header dns framing; do \
		mkdir -p fuzz/target/found/$$target && \
		RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none $$target fuzz/target/found/$$target fuzz/corpus/$$target -- -max_total_time=$(or $(SECS),600) -timeout=10 || exit 1; \
	done

matrix: setup-network ## Measure what visitors notice when backends fail, come and go (six minutes; ARGS="--only SIGSTOP")
	cargo build --profile dist -p quiz-lb --bins --examples --locked
	@$(TARGET)/dist/examples/matrix --program $(TARGET)/dist/quiz-lb $(ARGS)

docs: ## Build the API documentation
	cargo doc --workspace --no-deps --locked
	@echo "Open $(TARGET)/doc/quiz_lab/index.html; the prose is in docs/"

deny: ## Check licences, advisories and sources of the dependencies (needs cargo-deny)
	cargo deny check

sqlx: setup ## Renew .sqlx after a change of a query or a migration
	cargo build -p quiz-lab --locked
	@$(TARGET)/debug/quiz-lab postgres -- lab/scripts/sqlx.sh

openapi: ## Renew docs/openapi.json after a change of the API
	cargo run --quiet -p quiz-web --example openapi --locked > $(TARGET)/openapi.json
	@mv $(TARGET)/openapi.json docs/openapi.json

setup: ## Install what building and running need
	@lab/scripts/setup.sh run

setup-bench: ## Install what the benchmarks need as well
	@lab/scripts/setup.sh bench

setup-network: ## Install what network namespaces with firewalls need as well
	@lab/scripts/setup.sh network

setup-test: ## Install what the tests need as well
	@lab/scripts/setup.sh test

clean: ## Remove what was built (the state of `make run` stays)
	cargo clean
