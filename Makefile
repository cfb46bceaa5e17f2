# Two commands do everything: `make demo` shows the platform at work, `make test` checks all of it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help demo test unit unit-kernel unit-rest platform slow cluster chaos-cluster postgres acceptance-postgres check lint types imports format bench bench-kernel faults gallery formats audit clean

help: ## Show these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

demo: $(VENV)/.installed ## Install, start the platform here, convert a STEP assembly to GLB, stop
	@PATH="$(abspath $(BIN)):$$PATH" sh scripts/demo.sh

test: $(VENV)/.installed-dev ## Lint, types, import rules, and the tests
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target check unit-kernel unit-rest
	@$(MAKE) --no-print-directory platform

unit: $(VENV)/.installed-dev ## Tests without a platform, in two processes
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target unit-kernel unit-rest

unit-kernel: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/unit/kernel tests/unit/client

unit-rest: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/unit --ignore tests/unit/kernel --ignore tests/unit/client

platform: $(VENV)/.installed-dev ## Tests on real platforms, one after another
	$(BIN)/python -m pytest tests/acceptance tests/integration -m 'not slow'

slow: $(VENV)/.installed-dev ## Tests that kill, freeze or fill parts of a platform, for many minutes; CI runs them too
	$(BIN)/python -m pytest tests/integration -m slow

cluster: $(VENV)/.installed-dev ## Tests on several machines, made of namespaces (needs root); CI runs them too
	$(BIN)/python -m pytest tests/cluster

chaos-cluster: $(VENV)/.installed-dev ## 1,000 jobs while machines are killed, cut off and frozen (needs root; half an hour)
	PIXYZ_CHAOS_JOBS=1000 $(BIN)/python -m pytest tests/cluster/test_chaos.py -s

postgres: $(VENV)/.installed-dev ## Recovery, admission and a chaos run with the job records in PostgreSQL; CI runs them too
	PIXYZ_TESTS_STORE=postgres $(BIN)/python -m pytest tests/acceptance/test_admission.py tests/integration/test_recovery.py tests/integration/test_chaos.py

acceptance-postgres: $(VENV)/.installed-dev ## All acceptance tests with the job records in PostgreSQL
	PIXYZ_TESTS_STORE=postgres $(BIN)/python -m pytest tests/acceptance

check: lint types imports ## Everything that needs no running

lint: $(VENV)/.installed-dev ## Format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.installed-dev ## Types
	$(BIN)/mypy

imports: $(VENV)/.installed-dev ## Who may import whom
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## Put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed-dev ## Measure, and write docs/performance.md
	$(BIN)/python -m benchmarks

bench-kernel: $(VENV)/.installed-dev ## Measure the 3D kernel, and write docs/kernel-figures.md
	$(BIN)/python -m benchmarks.kernel

formats: $(VENV)/.installed-dev ## Write docs/formats.md from the table of formats
	$(BIN)/python -m pixyz_worker.kernel.formats > docs/formats.md

gallery: $(VENV)/.installed-dev ## Draw the samples with both renderers, and write docs/gallery.md
	$(BIN)/python scripts/build_gallery.py

faults: $(VENV)/.installed-dev ## Kill the platform's parts, measure, and write docs/reliability.md
	$(BIN)/python -m benchmarks.faults

# An environment of its own, so that it does not audit itself. Strict: what PyPI does not know is an error, not passed over.
audit: $(VENV)/.installed-dev ## Ask PyPI for known holes in what is installed; run it by hand, before a release and when you raise a version
	@test -x $(VENV)/audit/bin/pip-audit || { $(BIN)/python -m venv $(VENV)/audit && $(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9,<3'; }
	@$(BIN)/python -m pip freeze --exclude-editable > $(VENV)/audit/installed.txt
	$(VENV)/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement $(VENV)/audit/installed.txt

clean: ## Remove what was made here
	rm -rf $(VENV) .demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else "Python 3.11, 3.12 or 3.13 is needed, this is %d.%d: make PYTHON=python3.12 ..." % v)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml setup.py pixyz_worker/pixyz_startup.pth | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml setup.py pixyz_worker/pixyz_startup.pth | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.installed
