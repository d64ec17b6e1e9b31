# make quickstart: install, run the built-in study, print the result.   make test: install, run the tests.   make slow, make faults: the long ones.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed

.PHONY: quickstart test slow faults check install clean

quickstart: $(INSTALLED)
	$(BIN)/stablesweep run

# The tests that start a real Ray use both cores of a small machine themselves; the others run side by side.
test: $(INSTALLED)
	$(BIN)/python -m pytest -m "not cluster and not slow and not faults" --numprocesses 2 --dist loadfile
	$(BIN)/python -m pytest -m "cluster and not slow and not faults"

# Whole studies on a real Ray: the examples, one from an installed wheel, packs of two workers, what becomes of secrets.
slow: $(INSTALLED)
	$(BIN)/python -m pytest -m "slow and not faults"

# Kills processes and nodes, fills disks and damages files under running studies, on clusters of its own.
faults: $(INSTALLED)
	$(BIN)/python -m pytest -m faults

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit('stablesweep needs Python 3.11 or newer; name one with: make PYTHON=python3.12') if sys.version_info < (3, 11) else None"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[dev]"
	touch $(INSTALLED)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
