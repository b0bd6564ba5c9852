# Everything here works in a fresh clone: what a target needs, it makes first.
SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON_BIN := .venv/bin
# Folders with Python code in them; mypy refuses one without.
TYPED_FOLDERS := $(foreach folder,sdk wire runtime server cli tests benchmarks examples tools,$(if \
	$(shell find $(folder) -name '*.py' -print 2>/dev/null | head -n 1),$(folder)))

# Arguments for the program behind a target: make run ARGS="--help", make unit ARGS="-k outbox"
ARGS ?=

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## Start Parley on 127.0.0.1:50051 with its data in ./parley-data
	@tools/environment.sh run
	@exec $(PYTHON_BIN)/parley up $(ARGS)

.PHONY: test
test: ## Set up, check and run all tests
	@tools/timed.sh "set-up" $(MAKE) deps
	@tools/timed.sh "check" $(MAKE) check
	@echo "== tests"; $(PYTHON_BIN)/python -m pytest --durations=15 --durations-min=5 tests $(ARGS)
	@$(if $(ARGS),:,tools/timed.sh "some on grpcio, too" $(MAKE) both-transports ARGS="--passed-on-wire $(ON_BOTH)")

# A short form of both-transports: one file for each kind of thing that a stream meets.
ON_BOTH := tests/scenario/connect tests/scenario/test_order.py tests/scenario/test_go_away.py \
	tests/scenario/test_tls.py

.PHONY: both-transports
both-transports: python-deps ## Run the tests that need a node on our transport and on grpcio, and compare the counts
	@exec $(PYTHON_BIN)/python tools/both_transports.py $(ARGS)

.PHONY: unit
unit: python-deps ## Run the quick tests only (tests/unit)
	@exec $(PYTHON_BIN)/python -m pytest tests/unit $(ARGS)

.PHONY: robustness
robustness: python-deps ## Kill nodes and break networks under load, and check every promise (KILLS=, MESSAGES=, SEED=)
	@PARLEY_ROBUSTNESS_KILLS=$(or $(KILLS),50) PARLEY_ROBUSTNESS_MESSAGES=$(or $(MESSAGES),20000) \
		PARLEY_ROBUSTNESS_SEED=$(SEED) $(PYTHON_BIN)/python -m pytest -s -k "killed or every_device or every_program" \
		tests/robustness/test_durability.py tests/robustness/test_devices.py tests/robustness/test_sdk_devices.py \
		tests/robustness/test_changes.py $(ARGS)

.PHONY: model
model: python-deps ## Play many schedules of the model test (SCHEDULES=100000 SEED=0)
	@PARLEY_MODEL_SCHEDULES=$(or $(SCHEDULES),100000) PARLEY_MODEL_SEED=$(or $(SEED),0) \
		$(PYTHON_BIN)/python -m pytest --timeout=0 tests/model/test_owner_model.py tests/property/test_session_model.py $(ARGS)

.PHONY: fuzz
fuzz: python-deps ## Fuzz the HTTP/2 core in both roles (FRAMES=10000000 SEED=0)
	@exec $(PYTHON_BIN)/python -m parley_wire.testing.fuzz --frames $(or $(FRAMES),10000000) --seed $(or $(SEED),0)

.PHONY: conformance
conformance: python-deps ## Have h2spec and connectrpc's conformance runner judge the transport (needs Go)
	@exec $(PYTHON_BIN)/python tools/wire_conformance.py

.PHONY: check
check: check-format check-lint check-types check-imports check-contract check-generated ## Run every check that is not a test (make -k check: go on after a failure)

.PHONY: check-format
check-format: python-deps
	@tools/timed.sh "format (ruff)" $(PYTHON_BIN)/ruff format --check --quiet .

.PHONY: check-lint
check-lint: python-deps
	@tools/timed.sh "lint (ruff)" $(PYTHON_BIN)/ruff check --quiet .

.PHONY: check-types
check-types: python-deps
	@tools/timed.sh "types (mypy --strict)" $(PYTHON_BIN)/mypy $(TYPED_FOLDERS)

.PHONY: check-imports
check-imports: python-deps
	@tools/timed.sh "import rules (import-linter)" $(PYTHON_BIN)/python tools/lint_imports.py

.PHONY: check-contract
check-contract: python-deps
	@tools/timed.sh "contract (buf lint)" $(PYTHON_BIN)/buf lint proto
	@test -f proto/baseline.binpb || { echo "proto/baseline.binpb is missing: run \`make proto-baseline\`" >&2; exit 1; }
	@tools/timed.sh "contract (buf breaking)" $(PYTHON_BIN)/buf breaking proto --against proto/baseline.binpb --exclude-imports

.PHONY: check-generated
check-generated: python-deps
	@tools/timed.sh "generated code" $(PYTHON_BIN)/python tools/generate_protos.py --check

.PHONY: fix
fix: python-deps ## Format the code and repair what ruff can
	@$(PYTHON_BIN)/ruff check --fix --quiet . ; $(PYTHON_BIN)/ruff format --quiet .

.PHONY: proto
proto: python-deps ## Generate the stubs in sdk/ from proto/
	@$(PYTHON_BIN)/python tools/generate_protos.py

.PHONY: proto-baseline
proto-baseline: python-deps ## Make today's contract the one that later changes may not break
	@$(PYTHON_BIN)/buf build proto --as-file-descriptor-set --exclude-source-info --output proto/baseline.binpb

.PHONY: deps
deps: python-deps ## Install everything that tests need into .venv and .tools
	@tools/install_grpcurl.sh
	@tools/install_grpc_go_client.sh
	@tools/install_http2_clients.sh
	@tools/install_tmux.sh

.PHONY: python-deps
python-deps:
	@tools/environment.sh dev

.PHONY: bench
bench: python-deps ## Measure (see benchmarks/)
	@exec $(PYTHON_BIN)/python benchmarks/run.py $(ARGS)

.PHONY: lock
lock: python-deps ## Write the locks in requirements/ again (UPGRADE=1: newer versions)
	@tools/lock.sh $(if $(UPGRADE),--upgrade)

.PHONY: clean
clean: ## Remove everything that make made; parley-data stays
	@rm -rf .venv .tools dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@if [ -d parley-data ]; then echo "parley-data is kept: it is your server's data."; fi
