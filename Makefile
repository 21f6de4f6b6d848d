PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help ablation test test-fast cluster-test faults bench lint clean

help:
	@echo "make ablation   run ablations/components.yaml and print its table"
	@echo "make test       run all tests that a change must pass"
	@echo "make test-fast  run the tests without Ray, clusters, faults and whole studies"
	@echo "make cluster-test  test the Slurm script, and a cluster of three hosts that loses one (root, Linux)"
	@echo "make faults     kill drivers, workers and servers, fill disks; count lost and repeated results"
	@echo "make bench      measure performance, and write the main results into the README (one hour)"
	@echo "make lint       run ruff, pydoclint, mypy and import-linter"
	@echo "make clean      remove .venv and caches, but no results"

ablation: $(INSTALLED)
	$(BIN)/ibml ablate ablations/components.yaml

test: $(INSTALLED)
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test-fast: $(INSTALLED)
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow and not ray and not cluster and not faults"

cluster-test: $(INSTALLED)
	IBML_TEST_CLUSTER=1 $(BIN)/pytest tests/cluster/test_slurm.py
	$(BIN)/python -m tests.cluster.launched

faults: $(INSTALLED)
	IBML_TEST_BACKEND=ray IBML_TEST_KILLS=20 IBML_TEST_SIGNALS=40 $(BIN)/pytest tests/faults

bench: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.store
	$(BIN)/python -m tests.benchmarks.search
	$(BIN)/python -m tests.benchmarks.loading
	$(BIN)/python -m tests.benchmarks.methods
	$(BIN)/python -m tests.benchmarks

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pydoclint ibml
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "ibml needs Python 3.11 or newer; set it with: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
