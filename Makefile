# What a person types. Everything runs in .venv, which is made on first need; make it yourself (or link one) to use another.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.workbench-installed
WORKERS ?= 2
CRATE_VALIDATOR := tests/store/crate-validator.txt

.PHONY: bench-index bench-search bench-tui bench-attribution bench-capture bench-growth bench-intervene bench-qwen3-shape bench-train bench-worker torture demo test check bench lint format types imports install

# The whole path on the embedded model: prompt to validated circuit, with a closing report.
demo: install
	$(BIN)/workbench demo

# What CI runs: formatting, lint, strict types, import contracts, tests.
check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

bench: install
	$(BIN)/python -m benchmarks

bench-attribution: install
	$(BIN)/python -m benchmarks.attribution

bench-growth: install
	$(BIN)/python -m benchmarks.attribution_growth

bench-intervene: install
	$(BIN)/python -m benchmarks.intervene

# SAE training beside SAELens, sparsify and dictionary_learning; BENCH="--tokens 40000 --only ours,sparsify" for a short run.
bench-train: install
	$(BIN)/python -m benchmarks.train $(BENCH)

# Capture beside a bare hook and a plain forward; BENCH="--saelens" adds SAELens' store.
bench-capture: install
	$(BIN)/python -m benchmarks.capture $(BENCH)

bench-qwen3-shape: install
	$(BIN)/python -m benchmarks.qwen3_shape

# From handing a job to a worker whose model is loaded to the job's start; the embedded model.
bench-worker: install
	$(BIN)/python -m benchmarks.worker

# How soon the app is there and answers a key, with a million features and a large graph, in a real terminal.
bench-tui: install
	$(BIN)/python -m benchmarks.app

# The index beside SAEDashboard: same SAE, tokens and threads; BENCH="--tokens 2048 --features 512" for a short run.
bench-index: install
	$(BIN)/python -m benchmarks.index $(BENCH)

# Search and the feature list at 10 000, 100 000 and 1 000 000 features.
bench-search: install
	$(BIN)/python -m benchmarks.search

# SIGKILL at random moments, of the worker and of its child, until KILLS are done; prints what was lost.
KILLS ?= 300
torture: install
	$(BIN)/python -m tests.workbench.worker.torture $(KILLS)
	$(BIN)/python -m tests.workbench.worker.torture $(KILLS) 1e9 real

lint: install
	$(BIN)/ruff check .

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: install
	$(BIN)/mypy

imports: install
	$(BIN)/lint-imports

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt $(CRATE_VALIDATOR)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[hub,dev]'
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target .venv/crate-validator --requirement $(CRATE_VALIDATOR)
	touch $@
