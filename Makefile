# Every command a developer needs. `make` alone lists them.
.DEFAULT_GOAL := help
# The first that works: a version manager's placeholder for a Python that is not there does not.
PYTHON ?= $(shell for each in python3.11 python3.12 python3.13; do \
	$$each -c '' 2>/dev/null && echo $$each && break; done)
VENV := .venv
BIN := $(VENV)/bin
# Processes that share the tests: more than cores, as each waits a third of its time.
WORKERS ?= 3
# What is compiled once is kept: the tests start some hundred processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup generate check format test compiled prove bench run demo lock clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-10s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## Create the environment from the lock

$(VENV)/.ready: requirements.lock pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "Install Python 3.11, 3.12 or 3.13, or name one: make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: setup ## Serve and heal in one process beside a stand-in ERPNext, and watch a first tenant (loopback only)
	$(BIN)/provisioner serve --demo

demo: setup ## Prove the story without anybody: kill -9, a damaged record, healing
	$(BIN)/python -m tools.demo

generate: setup ## Regenerate the stubs, docs/judge.md and docs/cli.md
	$(BIN)/python -m tools.generate
	$(BIN)/python -m tools.judge_table
	$(BIN)/python -m tools.cli_page
	$(BIN)/buf format --write

check: setup ## Lint, types, layers, contract
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/python -m tools.breaking
	$(BIN)/python -m tools.generate --check

format: setup ## Fix what can be fixed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/buf format --write

test: setup ## Checks and every test; ARGS="-k judge" narrows it
	@# Side by side: types take one core for most of that time.
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target check compiled
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

# As an installation is; and the tests, which each worker would compile for itself.
compiled: setup
	@$(BIN)/python -m compileall -q server reconciler clients proto tools
	@said=$$($(BIN)/python -m pytest --collect-only --quiet 2>&1) || { echo "$$said"; exit 1; }

prove: setup ## The slow proofs: soak, chaos, every crash point, planted bugs
	$(BIN)/python -m pytest -m prove $(ARGS)

bench: setup .venv-bench/.ready ## Measure beside what it is compared with, ten minutes; QUICK=1: two, printed only
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(ARGS)

.venv-bench/.ready: benchmarks/requirements.lock
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement benchmarks/requirements.lock
	@touch $@

lock: setup ## Pin every dependency, with hashes
	$(BIN)/uv pip compile pyproject.toml --group dev --python-version 3.11 --quiet \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate --output-file requirements.lock
	$(BIN)/uv pip compile benchmarks/requirements.in --python-version 3.11 --quiet \
	  --generate-hashes --no-emit-index-url --no-header --no-annotate --output-file benchmarks/requirements.lock

clean: ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
