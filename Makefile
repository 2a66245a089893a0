# Patchbay: `make run` serves it, `make test` proves it.
SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(if $(shell $(p) -c 'import sys; sys.exit(not (3,11) <= sys.version_info < (3,14))' 2>/dev/null && echo ok),$(p))))
VENV := .venv
BIN := $(VENV)/bin
MANAGE := $(BIN)/python manage.py
UV_COMPILE := uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --fork-strategy fewest --custom-compile-command 'make lock'

.DEFAULT_GOAL := help
.PHONY: help run test setup fmt lint types contracts migrations check golden matrix fuzz chaos soak lock audit demo-upstream bench bench-guard profile clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.run-installed ## Serve the proxy and its admin on http://127.0.0.1:8000 (PORT, HOST, WEB_CONCURRENCY change it)
	@exec $(MANAGE) serve

test: $(VENV)/.test-installed ## Run all tests
	@$(BIN)/python -m pytest

setup: $(VENV)/.test-installed ## Install everything for running, testing and checking

# One install is enough for both: the lock for testing contains the one for running.
$(VENV)/.run-installed: requirements-prod.txt
	@$(call need_python)
	@echo "Installing Patchbay into $(VENV) with $$($(PYTHON) --version) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-prod.txt
	@touch $@

$(VENV)/.test-installed: requirements.txt
	@$(call need_python)
	@echo "Installing Patchbay and its test tools into $(VENV) with $$($(PYTHON) --version) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@ $(VENV)/.run-installed

# `make bench PYTHON=/usr/bin/python3` measures on that interpreter, all Python candidates alike: builds of one
# version differ by up to a factor of two.
BENCH_VENV := $(if $(filter command line,$(origin PYTHON)),.bench/$(notdir $(PYTHON)),$(VENV))

.bench/%/.run-installed: requirements-prod.txt
	@$(call need_python)
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-prod.txt
	@touch $@

define need_python
	if [ -z "$(PYTHON)" ]; then echo "Patchbay needs Python 3.11, 3.12 or 3.13, and none was found. Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; fi
endef

fmt: setup ## Format the code
	@$(BIN)/ruff check --quiet --fix-only . ; $(BIN)/ruff format --quiet .

lint: setup ## Check style
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: setup ## Check types
	@$(BIN)/mypy

contracts: setup ## Check who may import whom
	@$(BIN)/lint-imports

migrations: setup ## Check that every model change has its migration
	@$(MANAGE) makemigrations --check --dry-run

check: lint types contracts migrations test ## All checks, then all tests

golden: setup ## Rewrite the expectations of the golden cases (review the diff)
	@$(BIN)/python -m tests.golden_cases --rewrite

matrix: setup ## Rewrite docs/translation.md from the golden cases
	@$(BIN)/python -m tests.conformance_matrix --write

fuzz: setup ## Send odd requests for FUZZ_SECONDS (300); FUZZ_SEED repeats a run
	@$(BIN)/python -m tests.fuzz

chaos: setup ## Every fault in every form, and docs/reliability.md's tables anew (15 minutes)
	@$(BIN)/python -m tests.chaos

soak: setup ## Steady load for SOAK_SECONDS (600): does memory stay where it was?
	@$(BIN)/python -m tests.chaos.soak

lock: ## Make all lock files anew from requirements*.in and package.json (needs uv and npm)
	@$(UV_COMPILE) requirements.in -o requirements-prod.txt
	@$(UV_COMPILE) -c requirements-prod.txt requirements-dev.in -o requirements.txt
	@for client in openai1 langchain pydantic_ai instructor; do $(UV_COMPILE) tests/clients/$$client/requirements.in -o tests/clients/$$client/requirements.txt; done
	@for folder in tests/clients/node tests/people/identity_provider; do (cd $$folder && npm install --package-lock-only --no-audit --no-fund --silent); done
	@$(UV_COMPILE) requirements-audit.in -o requirements-audit.txt

audit: ## Ask whether a locked package has a known vulnerability (needs the network)
	@PYTHON="$(PYTHON)" .ci/audit

demo-upstream: setup ## Serve a fake OpenAI and Anthropic on http://127.0.0.1:9100, to try the proxy against
	@$(BIN)/python -m tests.fake_upstream --port 9100

bench: $(BENCH_VENV)/.run-installed ## Measure against nginx and two references, about 6 minutes (benchmarks/README.md says what it needs)
	@$(BENCH_VENV)/bin/python -m benchmarks.bench $(BENCH)

bench-guard: $(BENCH_VENV)/.run-installed ## Has a change made us slower? 90 seconds, against two references
	@$(BENCH_VENV)/bin/python -m benchmarks.bench --guard

profile: $(BENCH_VENV)/.run-installed ## Where the CPU time of a request goes: docs/images/flamegraph.svg and a table (needs py-spy)
	@$(BENCH_VENV)/bin/python -m benchmarks.profiling

clean: ## Remove the virtual environment and caches (never data/)
	@rm -rf $(VENV) .audit .bench .clients .mypy_cache .ruff_cache .pytest_cache .hypothesis
