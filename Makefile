# make demo: install and score a baseline    make test: install and run every test    make help: the rest
SHELL := bash
.SHELLFLAGS := -eo pipefail -c
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# pip's long output as one line per package, so that the wait is visible
PIP_LINES := sed -un -e 's/^Collecting \([^ ]*\).*/  fetching \1/p' -e 's/^Installing collected.*/  installing .../p' -e '/^ERROR/p'
# Files in the order of their names: the slowest come first. xdist would start with those of most tests.
PYTEST := $(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

.PHONY: help setup demo test test-slow test-as-user lint docs baselines-sync bench wheel clean

help:
	@echo "make demo          install, run a baseline on the sample, print its score"
	@echo "make test          install with the test tools, run every test but the slow ones"
	@echo "make test-slow     the repetitions that make test leaves out"
	@echo "make test-as-user  as root: the tests about permissions, as an ordinary user"
	@echo "make lint          ruff and mypy"
	@echo "make docs          generate the reference pages"
	@echo "make baselines-sync  copy baselines/_shared into the baselines that use it"
	@echo "make bench         run the benchmarks"
	@echo "make wheel         build the wheel into dist/"

$(BIN)/python:
	@echo "creating the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(BIN)/python
	@echo "installing dfdc-starter-kit, its dependencies and OpenCV into $(VENV) (once)"
	@$(BIN)/pip install --disable-pip-version-check --editable ".[faces]" | $(PIP_LINES)
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "installing dfdc-starter-kit, its dependencies and the test tools into $(VENV) (once)"
	@$(BIN)/pip install --disable-pip-version-check --editable ".[dev]" | $(PIP_LINES)
	@touch $@ $(VENV)/.core

setup: $(VENV)/.dev

demo: $(VENV)/.core
	@echo "running the baseline face-cnn on the bundled sample: dfdc run baselines/face-cnn"
	@$(BIN)/dfdc run baselines/face-cnn

test: $(VENV)/.dev
	$(PYTEST)

test-slow: $(VENV)/.dev
	$(PYTEST) -m slow || test $$? -eq 5  # 5: no test is marked slow

test-as-user: $(VENV)/.dev
	tests/as_user.sh $(BIN)/python

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.dev
	$(BIN)/python docs/generate.py

baselines-sync:
	$(PYTHON) baselines/_shared/sync.py

bench: $(VENV)/.dev
	$(BIN)/pytest tests/benchmarks --benchmark-only

wheel: $(VENV)/.dev
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) dist build runs
