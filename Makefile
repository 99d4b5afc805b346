# Every target does its own set-up: the virtualenv is made at first use, and brought up to date when a pin changes.
#
#   PYTHON  the Python that makes the virtualenv, 3.11 or newer
#   VENV    where the virtualenv stands
#   GO_CARBON, CARBON_C_RELAY    binaries of these, for `make bench` to measure beside ours
#   CONFIG  the configuration that make run starts the daemon with

PYTHON ?= python3
VENV   ?= .venv
CONFIG ?= etc/carbonquota.conf

BIN   := $(VENV)/bin
LOCK  := requirements/lock.txt
STAMP := $(VENV)/.installed
PIP   := -m pip --disable-pip-version-check --quiet

# Without this, the package carbon puts itself into /opt/graphite rather than into the virtualenv.
export GRAPHITE_NO_PREFIX := True

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv run dry-run test check format bench lock clean

# Says what is wrong with PYTHON and what to do, before anything else can fail less clearly.
define check_python
@command -v $(PYTHON) >/dev/null || \
	{ echo "There is no '$(PYTHON)' here. Name a Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "carbonquota needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
	       "Name a newer one: make PYTHON=/path/to/python3" >&2; exit 1; }
endef

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

venv: $(STAMP) ## Set up the virtualenv, and nothing more

run: $(STAMP) ## Run the daemon, feed it the metrics of this machine, and show live what its quotas do
	@$(BIN)/python tools/live_daemon.py --config $(CONFIG)

dry-run: $(STAMP) ## Show once what etc/storage-quotas.conf would do to the metrics of this machine
	@$(BIN)/python tools/live_metrics.py | \
		$(BIN)/carbonquota dry-run --rules etc/storage-quotas.conf --schemas etc/storage-schemas.conf -

test: $(STAMP) ## Run all tests
	$(BIN)/python -m pytest

check: $(STAMP) ## Check style, types, layers and docstrings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/interrogate carbonquota tools

format: $(STAMP) ## Format the code, and mend what the linter can mend by itself
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: $(STAMP) ## Measure speed and memory: a table, and JSON
	$(BIN)/python tools/bench.py --json bench.json
	$(BIN)/python tools/bench_relay.py --json bench-relay.json \
		$(if $(GO_CARBON),--go-carbon $(GO_CARBON)) $(if $(CARBON_C_RELAY),--carbon-c-relay $(CARBON_C_RELAY))

clean: ## Remove the virtualenv, caches and build results
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find carbonquota tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# The build backend comes first, for what has to be built here is built with the pinned one. The pins are complete, so
# the last step finds all else in place. It may ask no index, and hence fails, rather than installs something
# unpinned, when pyproject.toml names a package that the lock does not.
$(STAMP): pyproject.toml $(LOCK)
	$(check_python)
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(PIP) install "$$(grep '^setuptools==' $(LOCK))"
	@$(BIN)/python $(PIP) install --no-build-isolation --requirement $(LOCK)
	@$(BIN)/python $(PIP) install --no-index --no-build-isolation --editable '.[dev]' || \
		{ echo "$(LOCK) does not fit pyproject.toml: run 'make lock'." >&2; exit 1; }
	@touch $@

# Lock with the oldest Python supported: what it resolves to, newer ones can install too.
lock: ## Write requirements/lock.txt anew, with the newest versions that pyproject.toml allows
	$(check_python)
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
	$(PYTHON) -m venv "$$scratch" && \
	"$$scratch/bin/python" $(PIP) install --upgrade setuptools && \
	"$$scratch/bin/python" $(PIP) install --editable '.[dev]' && \
	"$$scratch/bin/python" $(PIP) freeze --all --exclude pip --exclude carbonquota > "$$scratch/pins" && \
	{ echo "# Exact versions of all that the project is built, run and checked with. Written by 'make lock' with"; \
	  echo "# $$($(PYTHON) --version). Edit pyproject.toml, not this file."; \
	  cat "$$scratch/pins"; } > $(LOCK)
