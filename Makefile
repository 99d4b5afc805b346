# Every target does its own set-up: the virtualenv is made at first use, and brought up to date when a pin changes.
#
#   PYTHON  the Python that makes the virtualenv, 3.11 or newer
#   VENV    where the virtualenv stands
#   CC      the C compiler for the compiled kernel; without one, the plain kernel does all
#   GO_CARBON, CARBON_C_RELAY    binaries of these, for `make bench` to measure beside ours
#   SOAK_SHARE  how much of `make soak` is done, 1 for all; tests/soak/lengths.py has the lengths of single tests
#   CONFIG  the configuration that make run starts the daemon with
#   FUZZ_SECONDS, FUZZ_SEED      how long `make fuzz` tries, and from which seed, where it shall be a certain one

PYTHON ?= python3
VENV   ?= .venv
CONFIG ?= etc/carbonquota.conf
FUZZ_SECONDS ?= 60

BIN   := $(VENV)/bin
LOCK  := requirements/lock.txt
STAMP := $(VENV)/.installed
TOOLS := $(VENV)/.tools
PROGRAM := .[live,daemon,cluster,hub,limiter]
PIP   := -m pip --disable-pip-version-check --quiet

KERNEL := carbonquota/kernel
DECISION := carbonquota/controls/native
LIMITS := carbonquota/limiter/native
BUILT  := $(VENV)/.built
# Half as many again as there are cores, for the tests of processes mostly wait.
CORES           := $(shell nproc 2>/dev/null || echo 2)
PARALLEL        := --numprocesses=$(shell echo $$(($(CORES) + ($(CORES) + 1) / 2))) --dist=worksteal
# What knows nothing of a kernel has been tested by then, and so has what tries both kernels by itself.
PLAIN_TESTS     := tests/unit tests/property tests/conformance \
	$(patsubst %,--ignore=%,$(addprefix tests/unit/,hub web client cluster limiter rules kernel storage daemon/http daemon/relay) \
	$(wildcard $(patsubst %,tests/property/test_%*.py,hub limiter kernel slices claims sync merge expressions globs)))
SANITIZED_TESTS := tests/unit/kernel tests/unit/controls tests/unit/test_engine.py tests/integration/test_threads.py \
	tests/unit/limiter/test_limiter_counters.py tests/property/test_limiter_counters.py tests/property/test_limiter_decider.py \
	$(wildcard tests/property/test_kernel*.py tests/property/test_batches*.py tests/property/test_engine*.py)

# Without this, the package carbon puts itself into /opt/graphite rather than into the virtualenv.
export GRAPHITE_NO_PREFIX := True

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv assets run dry-run test test-plain soak sanitize fuzz fuzz-portable tsan tsan-portable check format bench bench-limiter bench-cluster bench-hub bench-page \
	bench-rules man lock dist clean FORCE

# Says what is wrong with PYTHON and what to do, before anything else can fail less clearly.
define check_python
@command -v $(PYTHON) >/dev/null || \
	{ echo "There is no '$(PYTHON)' here. Name a Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "carbonquota needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
	       "Name a newer one: make PYTHON=/path/to/python3" >&2; exit 1; }
endef

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

venv: $(BUILT) $(TOOLS) ## Set up the virtualenv, and nothing more

assets: $(STAMP) ## Get the JavaScript of others for the pages, by npm: htmx and uPlot
	@$(BIN)/python tools/assets.py

run: $(BUILT) ## Run the daemon, feed it the metrics of this machine, and show live what its quotas do
	@$(BIN)/python tools/assets.py --try
	@$(BIN)/python tools/live_daemon.py --config $(CONFIG)

dry-run: $(BUILT) ## Show once what etc/storage-quotas.conf would do to the metrics of this machine
	@$(BIN)/python tools/live_metrics.py | \
		$(BIN)/carbonquota dry-run --rules etc/storage-quotas.conf --schemas etc/storage-schemas.conf -

test: $(BUILT) $(TOOLS) ## Run all tests, on all cores, and name those that are skipped
	$(BIN)/python -m pytest $(PARALLEL)

# Its own target, as it shows what the first run has shown to whoever has not touched a kernel.
test-plain: $(TOOLS) ## Run the tests of all that decides on the plain kernel
	CARBONQUOTA_KERNEL=python $(BIN)/python -m pytest $(PARALLEL) $(PLAIN_TESTS)

soak: $(BUILT) $(TOOLS) ## Run the long tests, one after the other: a million of what the others have some thousands of
	$(BIN)/python -m pytest -v --capture=no tests/soak

sanitize: $(TOOLS) ## Run the tests of kernel and engine on a build that stops at overflows and undefined behaviour
	$(BIN)/python tools/sanitized.py -m pytest $(SANITIZED_TESTS)

fuzz: $(TOOLS) ## Feed hostile buffers to such a build, and compare with the plain kernel
	$(BIN)/python tools/sanitized.py tools/fuzz_kernel.py --seconds $(FUZZ_SECONDS) $(if $(FUZZ_SEED),--seed $(FUZZ_SEED))

fuzz-portable: $(TOOLS) ## The same on a build with the loops that stand in for SSE2
	CFLAGS="$$CFLAGS -DCARBONQUOTA_PORTABLE" \
		$(BIN)/python tools/sanitized.py tools/fuzz_kernel.py --seconds $(FUZZ_SECONDS) $(if $(FUZZ_SEED),--seed $(FUZZ_SEED))

tsan: $(TOOLS) ## Have threads use one engine at once on a build that tells of unguarded memory (ThreadSanitizer)
	$(BIN)/python tools/sanitized.py --threads tools/race_kernel.py

tsan-portable: $(TOOLS) ## The same on a build with the loops that stand in for SSE2
	CFLAGS="$$CFLAGS -DCARBONQUOTA_PORTABLE" $(BIN)/python tools/sanitized.py --threads tools/race_kernel.py

check: $(BUILT) $(TOOLS) ## Check style, types, layers and docstrings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/interrogate carbonquota tools

format: $(TOOLS) ## Format the code, and mend what the linter can mend by itself
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: $(BUILT) $(TOOLS) ## Measure speed and memory: a table, and JSON
	$(BIN)/python tools/bench.py --json bench.json
	$(BIN)/python tools/bench_schemas.py
	$(BIN)/python tools/bench_lint.py
	$(BIN)/python tools/bench_claims.py
	$(BIN)/python tools/bench_relay.py --json bench-relay.json \
		$(if $(GO_CARBON),--go-carbon $(GO_CARBON)) $(if $(CARBON_C_RELAY),--carbon-c-relay $(CARBON_C_RELAY))
	$(BIN)/python tools/bench_carbon.py --json bench-carbon.json

bench-limiter: $(BUILT) $(TOOLS) ## Measure the rate limiter, beside the package limits, and its faces
	$(BIN)/python tools/bench_limiter.py --json bench-limiter.json
	$(BIN)/python tools/bench_limiter_faces.py --json bench-limiter-faces.json

bench-hub: $(BUILT) $(TOOLS) ## Measure the quota service with a million customers
	$(BIN)/python tools/bench_hub.py --json bench-hub.json

bench-cluster: $(BUILT) $(TOOLS) ## Measure limits that several nodes share
	$(BIN)/python tools/bench_cluster.py --json bench-cluster.json

bench-page: $(BUILT) ## Measure the page and the traffic beside it, with 300,000 namespaces under rules
	$(BIN)/python tools/bench_page.py --json bench-page.json

bench-rules: $(BUILT) $(TOOLS) ## Measure how long a release of rules takes to reach a thousand daemons
	$(BIN)/python tools/bench_hub_rules.py --json bench-rules.json

man: $(BUILT) ## Write the man pages of all commands into build/man
	$(BIN)/python tools/man_pages.py build/man

dist: $(BUILT) $(TOOLS) ## Build a wheel for this machine and an sdist into dist/, with etc/ inside
	@$(BIN)/python tools/assets.py --try
	@rm -rf build dist
	@$(BIN)/python $(PIP) wheel --no-index --no-deps --no-build-isolation --wheel-dir dist .
	@$(BIN)/python -c "from setuptools import build_meta; build_meta.build_sdist('dist')" >/dev/null
	@ls dist

clean: ## Remove the virtualenv, caches and build results
	rm -rf .venv build dist $(KERNEL)/*.so $(DECISION)/*.so $(LIMITS)/*.so *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find carbonquota tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# The build backend comes first, for what has to be built here is built with the pinned one. This is what the program
# takes; what it is tested and checked with is several times that, and waits until it is asked for.
$(STAMP): pyproject.toml $(LOCK)
	$(check_python)
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(PIP) install --constraint $(LOCK) setuptools cython
	@CARBONQUOTA_NO_EXTENSION=1 $(BIN)/python $(PIP) install --no-build-isolation --constraint $(LOCK) --editable '$(PROGRAM)'
	@touch $@

# The pins are complete, so the last step finds all else in place. It may ask no index, and hence fails, rather than
# installs something unpinned, when pyproject.toml names a package that the lock does not.
$(TOOLS): $(STAMP)
	@echo "Setting up what tests and checks take in $(VENV) ..."
	@$(BIN)/python $(PIP) install --no-build-isolation --requirement $(LOCK)
	@CARBONQUOTA_NO_EXTENSION=1 $(BIN)/python $(PIP) install --no-index --no-build-isolation --editable '.[dev]' || \
		{ echo "$(LOCK) does not fit pyproject.toml: run 'make lock'." >&2; exit 1; }
	@touch $@

# The installation above leaves the kernel to this rule, which needs no pip to build it anew after a change. Where there
# is none yet, it tries each time, for a compiler may have come.
$(BUILT): $(STAMP) setup.py carbonquota/control.py $(foreach folder,$(KERNEL) $(DECISION) $(LIMITS),$(wildcard $(foreach kind,pyx pxd pxi h,$(folder)/*.$(kind))))
$(BUILT): $(if $(and $(wildcard $(KERNEL)/_cy.*.so),$(wildcard $(DECISION)/_cy.*.so),$(wildcard $(LIMITS)/_cy.*.so)),,FORCE)
	@echo "Building the compiled kernel ..."
	@$(BIN)/python setup.py --quiet build_ext --inplace --force \
		--build-temp $(VENV)/build --build-lib $(VENV)/build/lib
	@touch $@

FORCE:

# Lock with the oldest Python supported: what it resolves to, newer ones can install too.
lock: ## Write requirements/lock.txt anew, with the newest versions that pyproject.toml allows
	$(check_python)
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
	$(PYTHON) -m venv "$$scratch" && \
	"$$scratch/bin/python" $(PIP) install --upgrade setuptools && \
	CARBONQUOTA_NO_EXTENSION=1 "$$scratch/bin/python" $(PIP) install --editable '.[dev]' && \
	"$$scratch/bin/python" $(PIP) freeze --all --exclude pip --exclude carbonquota > "$$scratch/pins" && \
	{ echo "# Exact versions of all that the project is built, run and checked with. Written by 'make lock' with"; \
	  echo "# $$($(PYTHON) --version). Edit pyproject.toml, not this file."; \
	  cat "$$scratch/pins"; } > $(LOCK)
