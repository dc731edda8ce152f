# `make demo` and `make test` are all the set-up there is; both make the environment first.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Tests start processes by the dozen: what the first has compiled the others find.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test compiled check types house format lock schema pages released composers benchmarks clean

help:  ## Show what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "ACORN needs Python 3.11 or newer; install it and run make again."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo 'Installing into $(VENV), a minute or two the first time …'
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(READY)

install: $(READY)  ## Make the environment in .venv

demo: $(READY)  ## Run the whole house on sandboxes (ACORN_PORT moves it; Ctrl-C stops it)
	@$(BIN)/python -m gateway.pages.install || true
	@exec $(BIN)/acorn demo

test: $(READY)  ## Run every test on engines of its own
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

compiled: $(READY)  ## Compile all tests, beside other work: else every process of `make test` does so at its start
	$(BIN)/python -m pytest --quiet --collect-only > $(VENV)/collected || { cat $(VENV)/collected; exit 1; }

check: types house  ## Lint, types, floors, schema, docs, lock file (-j 2 does two things at a time)

types: $(READY)
	$(BIN)/mypy .

house: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/acorn schema print | diff -u schema/schema.graphql - || { echo "The schema moved: review the change, then make schema."; exit 1; }
	$(BIN)/python scripts/schema_diff.py
	$(BIN)/python scripts/lock.py --check
	$(BIN)/python scripts/rest_pages.py --check
	$(BIN)/python -m pytest --quiet tests/house

format: $(READY)  ## Format the code and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: $(READY)  ## Print the schema into schema/schema.graphql
	$(BIN)/acorn schema print > schema/schema.graphql

pages: $(READY)  ## Render the REST contract into docs/rest/index.html and the conformance kit
	$(BIN)/python scripts/rest_pages.py

released: $(READY)  ## Take today's schema for the released one, when a version is cut
	$(BIN)/python scripts/schema_diff.py --release

composers:  ## Install the composers of federated graphs for the tests (needs Node)
	npm install --prefix tests/federation --no-package-lock --no-audit --no-fund --ignore-scripts --fetch-retries=0 --fetch-timeout=20000 --loglevel=error

lock: $(READY)  ## Resolve requirements.lock anew from pyproject.toml
	$(BIN)/python scripts/lock.py

benchmarks: $(READY)  ## Measure what the README claims (several minutes)
	$(BIN)/python -m benchmarks

clean:  ## Remove the environment and what the tools left
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build *.egg-info
