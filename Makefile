# The doors to this repository. `make` alone lists them.
# PYTHON=python3.12 chooses the interpreter; without it the newest of 3.13, 3.12 and 3.11 that works is taken.

SHELL := bash
VENV := .venv
BIN := $(VENV)/bin
ifeq ($(origin PYTHON),undefined)
PYTHON := $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 \
	&& echo $$p && break; done)
endif
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest -n 2
# Where byte code is forbidden, each of the many processes that tests start would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE
# A Flink cluster takes the machine for itself, so its tests come after the others, one by one.
# Tests of every law, of what kills, floods and compiles take minutes; `make check` leaves them to `make test`.
LONG := tests/cluster tests/laws tests/semantics/test_against_batch.py tests/semantics/test_order_and_ledger.py tests/test_demo.py \
	tests/test_packaging.py tests/engine/test_interrupt.py tests/connectors/test_kill.py \
	tests/connectors/test_bounded_memory.py tests/connectors/test_full_disk.py tests/plugins/test_all.py \
	tests/plugins/test_starting.py tests/plugins/test_toolchains.py tests/notebook/test_wasm_magic.py \
	tests/wasm/attacks tests/wasm/test_fuzz.py tests/wasm/test_udf_math.py tests/wasm/test_udf_numbers.py \
	tests/wasm/test_udf_characters.py tests/wasm/test_udf_programs.py tests/wasm/test_udf_text.py

# pip is silent for half a minute, or says a line for each of hundreds of files; this counts them.
define install
@set -o pipefail; $(PIP) install --progress-bar off --editable ".[$(EXTRAS)]" --constraint constraints.txt | awk -v live="$$([ -t 2 ] && echo 1)" '\
	/^Collecting / { found++; if (live) { printf "\r  %d packages found", found; fflush() } } \
	/^Installing collected / { printf "%s  %d packages found, installing them\n", live ? "\r" : "", found; fflush() }'
endef

.DEFAULT_GOAL := help
.PHONY: help demo lab test check cluster bench notebooks widgets format clean

help: ## list the doors
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## install everything pinned into .venv and run the main job on real data
	@$(BIN)/dataflare demo $(ARGS)

lab: $(VENV)/.lab ## open JupyterLab on the notebooks
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter lab notebooks/01_first_stream.ipynb $(ARGS)

test: $(VENV)/.dev ## run all tests
	@$(PYTEST) --ignore=tests/cluster $(ARGS)
	@$(if $(ARGS),,$(BIN)/python -m pytest tests/cluster)

check: $(VENV)/.dev ## run what a change must pass in under a minute: style, types, floors, fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(PYTEST) -m "not slow" $(addprefix --ignore=,$(LONG)) $(ARGS)

cluster: $(VENV)/.dev ## run the tests on a real Flink cluster, in .venv-flink, made on first use (1.1 GB, needs Java 17)
	@DATAFLARE_REQUIRE_ALL=1 $(BIN)/python -m pytest tests/cluster $(ARGS)

bench: $(VENV)/.dev ## measure speed and memory beside Polars, DuckDB and other ways to run a function
	@$(BIN)/python -m tests.benchmarks $(ARGS)

notebooks: $(VENV)/.dev ## run the notebooks, compare their outputs, say what each takes; ARGS=--save renews them
	@$(BIN)/python -m tests.notebooks $(ARGS)

widgets: ## check, test and build the dashboard's page (needs Node 20)
	@npm ci --silent --no-audit --no-fund --prefix widgets
	@npm run --silent check --prefix widgets
	@npm test --silent --prefix widgets
	@npm run --silent build --prefix widgets
	@wc -c dataflare_nb/notebook/static/*

format: $(VENV)/.dev ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

clean: ## remove .venv and what tools leave behind
	rm -rf $(VENV) $(VENV)-flink out dist build .coverage htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.13 with venv was found; install one, or say PYTHON=/path/to/python."; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: EXTRAS := notebook,demo
$(VENV)/.demo: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Installing dataflare_nb with JupyterLab and the demo (some 120 packages; a few minutes the first time)"
	$(install)
	@touch $@

$(VENV)/.lab: EXTRAS := notebook,demo,zig
$(VENV)/.lab: $(VENV)/.demo
	@echo "Installing Zig, which compiles the cells of C in the notebooks"
	$(install)
	@touch $@

$(VENV)/.dev: EXTRAS := dev
$(VENV)/.dev: $(VENV)/.lab
	@echo "Installing what tests and checks need"
	$(install)
	@touch $@
