# Everything a person or CI runs, one command each. Needs make and Python 3.11 or newer, nothing else.
# `make` alone lists the commands.

PYTHON ?= python3
HOME_DIR ?= demo-home
# one more than cores: the tests that kill processes mostly wait for them
TEST_WORKERS ?= 3
PYTEST_ARGS ?=
# of the fault suite: minutes are for each seed
CHAOS_SEEDS ?= 1 2 3
CHAOS_MINUTES ?= 7

VENV := .venv
BIN := $(VENV)/bin
# named for this folder: the programs of a moved .venv start no more, so it is made anew
INSTALLED := $(VENV)/.installed-$(shell pwd | cksum | cut -d " " -f 1)
# the version that uv.lock pins, so that `uv sync` does not replace the uv that runs it
UV_VERSION := $(shell sed -n '/^name = "uv"$$/{n;s/^version = "\(.*\)"/\1/p;}' uv.lock)
UV := env -u VIRTUAL_ENV -u UV_PROJECT_ENVIRONMENT UV_PYTHON_DOWNLOADS=never $(BIN)/uv

# programs beside the packages, which mypy takes by name
SCRIPTS := $(wildcard examples/*.py bench/*.py)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test check format bench bench-kafka bench-judge bench-judge-drift contracts simulate oracles chaos recovery kafka postgres clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## set up .venv with everything that uv.lock pins (quick when nothing changed)
	@:

$(INSTALLED): pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: needs Python 3.11 or newer as '$(PYTHON)'; name another one: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@$(BIN)/pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { \
	  echo "make: '$(PYTHON)' cannot make $(VENV); on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/uv --version 2>/dev/null | grep -qF 'uv $(UV_VERSION)' || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv==$(UV_VERSION)'
	$(UV) sync --locked --all-extras --python $(BIN)/python
	@touch $@

demo: install ## run the whole loop on 24 years of oil prices; a stopped demo goes on where it was
	$(BIN)/lifecycle demo --home $(HOME_DIR)

test: install ## run all tests; PYTEST_ARGS='-m "not slow" -k windows' for some
	$(BIN)/pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: install ## everything CI checks beside the tests: format, lint, types, layers, generated contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(if $(SCRIPTS),$(BIN)/mypy $(SCRIPTS))
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m schemas.generate --check

format: install ## rewrite sources to the common format and fix what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

contracts: install ## write the JSON Schemas and the AsyncAPI document anew
	$(BIN)/python -m schemas.generate

bench: install ## measure the tally worker on the embedded log
	$(BIN)/lifecycle bench tally

bench-kafka: install ## the same on brokers, beside Faust and Quix Streams: make bench-kafka KAFKA=localhost:9092
	$(BIN)/python -m bench.kafka --kafka $(or $(KAFKA),$(error name the brokers: make bench-kafka KAFKA=localhost:9092))

bench-judge: install ## measure the judge: CPU per closed batch of an experiment, by how many are behind it
	$(BIN)/python -m bench.judge_experiments $(JUDGE)

bench-judge-drift: install ## measure what judging drift costs, by features and by models; BENCH=--quick is quicker
	$(BIN)/python -m bench.judge_drift $(BENCH)

simulate: install ## simulate the tests of experiments: false promotions and power; five minutes of two cores, SIMULATE=--quick seconds
	$(BIN)/python -m bench.experiments $(SIMULATE)

# Python 3.11, because packages that are compared with have no builds for newer ones; downloads on the first run
oracles: install ## compare our statistics with other packages', in an environment of their own
	$(UV) run --isolated --no-project --python 3.11 --with-requirements tests/oracles/requirements.txt \
	  python -m pytest tests/oracles

chaos: install ## kill, freeze, cut and restart everything under load, compare with an oracle; about half an hour
	$(BIN)/python -m tests.chaos --seeds $(CHAOS_SEEDS) --minutes $(CHAOS_MINUTES)

recovery: install ## measure how long a killed tally worker takes to its next row
	$(BIN)/python -m tests.chaos.restart_time

kafka: install ## run one Apache Kafka broker until ctrl-C, for the service engine by hand
	@exec $(BIN)/python -m tests.servers.kafka

postgres: install ## run a PostgreSQL server until ctrl-C, for the service engine by hand
	@exec $(BIN)/python -m tests.servers.postgres

clean: ## remove .venv, caches and the demo's home
	rm -rf $(VENV) $(HOME_DIR) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
