# Each target sets up everything it needs from a bare checkout with Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
PEERS := .venv-bench/bin

.PHONY: quick site docs test faults lint bench bench-smoke bench-scaling

quick: .venv/ready
	$(BIN)/lvm-bench run --suite quick
	$(BIN)/lvm-bench report --suite quick

# Every page, figure and table that follows from the committed results, into results/site/: minutes.
site: .venv/ready
	$(BIN)/lvm-bench report

# Builds the documentation into results/site/docs without the network, and tries all that it and README show: minutes.
docs: .venv/docs
	rm -rf results/site/docs
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build --quiet --fail-on-warning --fresh-env --jobs 2 --doctree-dir .venv/doctrees \
	  docs results/site/docs
	$(BIN)/python docs/check.py links
	$(BIN)/python docs/check.py commands
	PYTHONPATH=tests $(BIN)/python docs/check_tex.py

# One thread each: two processes of two would spin on two cores.
test: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

faults: .venv/ready
	PYTHONPATH=tests $(BIN)/python -m faults

bench: .venv-bench/ready
	PYTHONPATH=tests $(PEERS)/python -m benchmarks

bench-smoke: .venv-bench/ready
	PYTHONPATH=tests $(PEERS)/python -m benchmarks --smoke

bench-scaling: .venv-bench/ready
	$(PEERS)/python -m benchmarks.scaling

lint: .venv/lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

.venv/docs: .venv/ready
	$(BIN)/python -m pip install --quiet --editable '.[test,docs]'
	touch $@

.venv/lint: .venv/ready
	$(BIN)/python -m pip install --quiet --editable '.[test,lint]'
	touch $@

.venv-bench/ready: pyproject.toml benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	$(PEERS)/python -m pip install --quiet --editable . --requirement benchmarks/requirements.txt
	touch $@
