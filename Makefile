# Sluice: everything you do with this checkout. `make` lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.run-ready
TEST_READY := $(VENV)/.test-ready
PRODUCT := var/product
PRODUCT_READY := $(PRODUCT)/.ready
PEERS := var/peers
PEERS_READY := $(PEERS)/.ready
UV := var/lock/bin/uv
LOCK := $(UV) pip compile --quiet --no-config --default-index https://pypi.org/simple --universal --generate-hashes \
	--python-version 3.11 --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run check test bench bench-peers bench-table chaos lock vendor clean

help: ## List what you can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUN_READY) ## Start everything, with the demo cast and two workers (DEMO=0 WORKERS=40: for work)
	@DEMO="$${DEMO-1}"; WORKERS="$${WORKERS-2}"; export DEMO WORKERS; exec $(BIN)/python run.py

check: $(TEST_READY) ## Style, types, import contracts, and the rules for routes and templates
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest --quiet --durations=0 tests/test_house_rules.py

test: check ## Check, then run all tests, two files at a time (ARGS="-k pause" picks some)
	CHROMIUM="$$(scripts/chromium.sh)" && TMPDIR="$$(scripts/quick_folder.sh)" && export CHROMIUM TMPDIR && \
		exec $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

bench: $(TEST_READY) $(PRODUCT_READY) ## Measure the engine beside its peers (BENCH="drain pages" for some, ROUNDS=5, QUICK=1)
	@$(BIN)/python -m bench

bench-peers: $(PEERS_READY) ## Install the peers that `make bench` runs beside the engine, apart from Sluice's environment

bench-table: $(TEST_READY) ## Print the last results as Markdown, ready to paste
	@$(BIN)/python -m bench.report

chaos: $(TEST_READY) ## Kill, freeze and flush for real, then judge (PROFILE=push, TASKS=1000, SEED=7, KEEP=folder)
	$(BIN)/python -m tests.chaos

lock: $(UV) ## Write the hashed requirements from the .in files
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) requirements-test.in -o requirements-test.txt
	$(LOCK) bench/peers.in -o bench/peers.txt

vendor: $(RUN_READY) ## Fetch the browser files in webapp/static/vendor
	$(BIN)/python scripts/vendor.py

clean: ## Remove the environment and caches; var/ with your data stays
	rm -rf $(VENV) .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache test-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUN_READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Sluice needs Python 3.11 or newer as $(PYTHON); or name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked requirements (about 15 seconds, once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(TEST_READY): requirements-test.txt $(RUN_READY)
	@echo "Installing what the tests need (about 10 seconds, once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-test.txt
	@touch $@

$(PRODUCT_READY): requirements.txt
	@test -x $(PRODUCT)/bin/pip || $(PYTHON) -m venv $(PRODUCT)
	@echo "Installing the engine as it is installed for work, to be measured (about 15 seconds, once)"
	@$(PRODUCT)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(PEERS_READY): bench/peers.txt
	@test -x $(PEERS)/bin/pip || $(PYTHON) -m venv $(PEERS)
	@echo "Installing the peers (about 15 seconds, once)"
	@$(PEERS)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r bench/peers.txt
	@touch $@

$(UV):
	@$(PYTHON) -m venv var/lock
	@var/lock/bin/pip install --quiet --disable-pip-version-check uv==0.13.8
