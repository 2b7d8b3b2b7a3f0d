# Every target creates what it needs: a virtual environment in .venv, made once and
# again only when the package's requirements change.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test fast lint docs mutants attack clean

demo: $(READY)  ## train on the standard library's source for a minute and a half, then show a sample
	$(BIN)/gatework train

test: $(READY) lint docs  ## the whole suite: fast tests first, then the slow ones
	$(BIN)/pytest -n auto -m "not slow"
	$(BIN)/pytest -n auto -m slow

fast: $(READY)
	$(BIN)/pytest -n auto -m "not slow"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)  ## the documentation as a site in site/; a dead link or an unknown name is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Gatework needs Python 3.11 or newer; set PYTHON=/path/to/python")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

mutants: $(READY)  ## break the compiler and the CPU backend in a hundred places, see what notices
	$(BIN)/python tests/mutation/run.py

attack: $(READY)  ## random cells, calls and folders for half an hour
	$(BIN)/python tests/attack/run.py --minutes 30

clean:
	rm -rf .venv site .mypy_cache .ruff_cache .pytest_cache
