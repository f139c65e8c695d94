# make demo: install and score a baseline    make test: install and run every test    make help: the rest
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help setup demo test test-slow lint docs bench wheel clean

help:
	@echo "make demo   install, run a baseline on the sample, print its score"
	@echo "make test   install with the test tools, run every test"
	@echo "make test-slow  the repetitions that make test leaves out"
	@echo "make lint   ruff and mypy"
	@echo "make docs   write the generated reference pages anew"
	@echo "make bench  run the benchmarks"
	@echo "make wheel  build the wheel into dist/"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --editable ".[dev]"
	@touch $@ $(VENV)/.core

setup: $(VENV)/.dev

demo: $(VENV)/.core
	$(BIN)/dfdc run baselines/frame-stats

test: $(VENV)/.dev
	$(BIN)/pytest --numprocesses auto --dist loadfile

test-slow: $(VENV)/.dev
	$(BIN)/pytest -m slow --numprocesses auto --dist loadfile || test $$? -eq 5  # 5: no test is marked slow

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.dev
	$(BIN)/python docs/generate.py

bench: $(VENV)/.dev
	$(BIN)/pytest tests/benchmarks --benchmark-only

wheel: $(VENV)/.dev
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) dist build runs
