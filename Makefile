# Everything sets up .venv first where it has to; a second call starts at once.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/ready
PARAMS ?= params/default.yaml
export VIRTUAL_ENV := $(CURDIR)/.venv
export PATH := $(CURDIR)/$(BIN):$(PATH)
export MPLBACKEND := agg
# Imports take six times as long without bytecode, so it is written even where the shell forbids it.
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH

.DEFAULT_GOAL := help
.PHONY: help setup run quick test lab ui docs bench bench-data bench-zoo bench-mutants lock clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## Create .venv from the lock, compile bytecode, warm numba, migrate the MLflow database

$(READY): requirements.lock settings.ini setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "qtp needs Python 3.11 or later; $(PYTHON) is older. Set PYTHON=/path/to/python3.11."; exit 1; }
	@test -x $(BIN)/python || { echo "Creating .venv ..."; $(PYTHON) -m venv .venv; }
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.lock && $(BIN)/pip install -q --disable-pip-version-check --require-hashes -r .venv/uv.lock
	@echo "Installing the lock (a few minutes the first time) ..."
	@uv pip install -q --compile-bytecode --require-hashes -r requirements.lock
	@uv pip install -q --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q qtp
	@echo "Warming numba caches and the MLflow database ..."
	@$(BIN)/python -m qtp.workbench.doctor
	@touch $@

run: $(READY)  ## Run the main job (PARAMS=params/default.yaml) and print where its report is
	@qtp run $(PARAMS)

quick: $(READY)  ## Run the small experiment: a result in well under a minute
	@qtp run params/quick.yaml

test: $(READY)  ## Everything that CI checks
	@bash tests/all.sh

lab: $(READY)  ## Open JupyterLab in nbs/
	@cd nbs && jupyter lab

ui: $(READY)  ## Open MLflow's web page on 127.0.0.1:5000
	@mlflow ui --host 127.0.0.1 --backend-store-uri sqlite:///$(CURDIR)/mlruns/mlflow.db

docs: $(READY)  ## Build the docs site into _docs/
	@$(BIN)/python docs/build.py

bench: $(READY)  ## Run the long proofs and the timed comparisons
	@for b in benchmarks/bench_*.py; do echo "== $$b"; $(BIN)/python $$b || exit 1; done

bench-data: $(READY)  ## Simulate 98 million 5-minute bars into data/bench (about 2 GB, resumable)
	@$(BIN)/python benchmarks/make_bench_data.py

bench-zoo: $(READY)  ## Put the leak zoo to qtp's audit and to other auditors; results go to docs/zoo.json (resumable)
	@$(BIN)/python benchmarks/bench_zoo.py

bench-mutants: $(READY)  ## Plant hard leaks in every registered feature and audit them; results go to docs/mutants.json (resumable)
	@$(BIN)/python benchmarks/bench_mutants.py

lock: $(READY)  ## Resolve requirements.lock anew from settings.ini
	@uv pip compile setup.py --extra dev --extra sample --extra vendors --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements.lock

clean:  ## Remove what can be made again: caches, docs, .venv (data, reports and MLflow runs stay)
	@rm -rf .venv _proc _docs build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
