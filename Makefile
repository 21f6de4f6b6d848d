PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help ablation test test-fast cluster-test faults bench lint clean

help:
	@echo "make ablation   run ablations/components.yaml and print its table"
	@echo "make test       run all tests that a change must pass"
	@echo "make test-fast  those without Ray, clusters, faults and whole studies"
	@echo "make cluster-test  a study by the Slurm script; ray up cluster/onprem.yaml over three hosts made here, one of which is lost (root, Linux)"
	@echo "make faults     kill drivers, workers and servers again and again, fill disks; count what was lost or done twice"
	@echo "make bench      measure stores, searches, loading, steps, trials, sharing; the README has the last (an hour)"
	@echo "make lint       ruff, mypy, import-linter"
	@echo "make clean      remove .venv and caches (results stay)"

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
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "ibml needs Python 3.11 or newer; name one: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
