# Everything runs in .venv in this checkout; versions come from requirements.lock.
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	command -v $$name >/dev/null 2>&1 && $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
BIN := .venv/bin
export DO_NOT_TRACK = 1
export DAGSTER_HOME ?= $(CURDIR)/var/dagster

.PHONY: install run test test-all ui web lint lock docs clean

run: .venv/.base
	$(BIN)/sightline run

# The connectors somebody needs, for example EXTRAS=salesforce,sql.
install: .venv/.base
	$(if $(EXTRAS),$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[$(EXTRAS)]')

# Two processes, a file of tests at a time; the files that take longest come first (tests/conftest.py).
PYTEST = $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 25

# All but those that take half a minute and more each.
test: .venv/.test
	$(PYTEST) -m "not long"

# Every test, as CI runs them.
test-all: .venv/.test
	$(PYTEST)

# The pages of Dagster: assets, lineage, runs, checks. This machine only.
ui: .venv/.base
	$(BIN)/sightline ui

# The pages people read. This machine only, unless there is a login (docs/pages-access.md).
web: .venv/.web
	$(BIN)/sightline web

# sqlfluff renders the models as dbt would, which needs a raw zone of the contract's shape: a home of its own, or one that
# has been built from an extract, with LINT_HOME=var.
LINT_HOME ?= var/lint
lint: .venv/.test $(LINT_HOME)/warehouse/sightline.duckdb
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	SIGHTLINE_HOME=$(abspath $(LINT_HOME)) $(BIN)/sqlfluff lint dbt_project/models

$(LINT_HOME)/warehouse/sightline.duckdb: $(wildcard dbt_project/models/staging/*/_*__sources.yml) | .venv/.test
	SIGHTLINE_HOME=$(abspath $(LINT_HOME)) $(BIN)/sightline run
	@touch $@

# Resolves the newest versions of everything pyproject.toml asks for, for all Pythons it allows.
lock: .venv/.test
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --upgrade --quiet \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate --output-file requirements.lock

# The pages that are made from the project itself, and their pictures from the release of `make run`; tests hold them.
docs: .venv/.test
	$(BIN)/python -c "from orchestration.ingest.contract import describe_contract as d; print(d(), end='')" > docs/extract-contract.md
	$(BIN)/python docs/metrics.py $(or $(SIGHTLINE_HOME),var)/dbt/target/semantic_manifest.json docs/metrics.md
	$(BIN)/python docs/pictures.py $(or $(SIGHTLINE_HOME),var)/published/current/sightline.duckdb docs/pictures

clean:
	rm -rf .venv var

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Sightline needs Python 3.11 or later: install it, or name one with make PYTHON=…"; exit 2; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "$(PYTHON) cannot make an environment; on Debian: apt-get install python3-venv"; exit 2; }

.venv/.base: .venv/bin/python requirements.lock pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e .
	@touch $@

.venv/.web: .venv/.base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[web]'
	@touch $@

.venv/.test: .venv/.base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[test]'
	@touch $@
