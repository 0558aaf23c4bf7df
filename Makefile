# `make help` lists what there is. Everything runs in .venv, which is made on first use.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test graders attack faults fuzz release lint bench clean

help: ## show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

$(INSTALLED): pyproject.toml
	@echo "Setting up .venv (PyTorch is large: about two minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

demo: $(INSTALLED) ## grade eight sample submissions in .demo/ and write the report
	@$(BIN)/python -m tools.demo

# Three processes on two cores: one that waits for a jail or a browser leaves its core to another.
test: lint ## run the tests on two cores (and the lint before them)
	@$(BIN)/python -m pytest --numprocesses 3

graders: $(INSTALLED) ## grade all correct designs and known mistakes, and print what came of each
	@$(BIN)/python -m tools.prove_graders

attack: $(INSTALLED) ## grade every hostile submission and print what came of each
	@$(BIN)/python -m tools.attack

faults: $(INSTALLED) ## kill the grader, fill the disk, break files; print what was left after a restart
	@$(BIN)/python -m tools.faults

fuzz: $(INSTALLED) ## 10,000 broken notebooks, records, graphs and configurations each
	@$(BIN)/python -m tools.fuzz

release: $(INSTALLED) ## generate release/, solutions/ and docs/checks.md from source/ and grader_config.py
	@$(BIN)/python -m tools.release

lint: $(INSTALLED) ## ruff, strict mypy, and which room may import which
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: $(INSTALLED) ## measure how long grading takes (prints figures, asserts nothing)
	@$(BIN)/python -m bench.grading

clean: ## remove what the demonstration and the tools left; .venv and the gradebook stay
	rm -rf .demo .attack build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
