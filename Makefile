# Sluice: everything you do with this checkout. `make` lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_READY := $(VENV)/.run-ready
TEST_READY := $(VENV)/.test-ready
UV := var/lock/bin/uv
LOCK := $(UV) pip compile --quiet --no-config --default-index https://pypi.org/simple --universal --generate-hashes \
	--python-version 3.11 --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run check test bench lock vendor clean

help: ## List what you can do
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUN_READY) ## Start everything, with the demo cast (DEMO=0: without)
	@DEMO="$${DEMO-1}"; export DEMO; exec $(BIN)/python run.py

check: $(TEST_READY) ## Style, types, import contracts, and the rules for routes and templates
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest --quiet --durations=0 tests/test_house_rules.py

test: check ## Check, then run all tests (ARGS="-k pause" picks some)
	CHROMIUM="$$(scripts/chromium.sh)" && export CHROMIUM && exec $(BIN)/python -m pytest $(ARGS)

bench: $(TEST_READY) ## Measure the engine's speed (TASKS=40000 WORKERS=2 ROUNDS=5)
	$(BIN)/python -m bench.drain

lock: $(UV) ## Write the hashed requirements from the .in files
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) requirements-test.in -o requirements-test.txt

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

$(UV):
	@$(PYTHON) -m venv var/lock
	@var/lock/bin/pip install --quiet --disable-pip-version-check uv==0.13.8
