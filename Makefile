# make search   install into .venv, then search on the built-in digits (10 minutes on 2 cores)
# make test     install into .venv, lint, then every quick test (about six minutes on 2 cores)
# make test-all every test, the long ones too
# make chaos    searches on a simulated cluster, broken on purpose (a quarter of an hour on 2 cores, as root)
# make soak     whether anything grows over 300 trials, and what the driver stands (half an hour on 2 cores)
# make fuzz     damaged and hostile files for every reader (15 minutes on one core); what fails is kept in .hypothesis/
# make audit    known weaknesses of the installed packages; needs the network (asks pypi.org about each package)
# make docs     the documentation as a site, in build/site; runs its examples
PYTHON ?= python3
BIN := .venv/bin
SPACE ?= search_spaces/detnet.yaml

.PHONY: search test test-all lint bench chaos soak fuzz audit docs clean install
FUZZ_SECONDS ?= 20

search: .venv/.installed
	$(BIN)/nasdet search $(SPACE)

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not docs" --durations=15 -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test-all: lint
	$(BIN)/python -m pytest

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.installed
	for script in $$(grep -L 'make chaos\|make soak' benchmarks/*.py); do $(BIN)/python $$script --json || exit 1; done

chaos: .venv/.installed
	$(BIN)/python benchmarks/chaos.py

soak: .venv/.installed
	$(BIN)/python benchmarks/soak.py
	$(BIN)/python benchmarks/many_workers.py

fuzz: .venv/.installed
	OMP_NUM_THREADS=1 NASDET_FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest -m fuzz -o timeout=600 tests/fuzz

audit: .venv/.installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python pip-audit
	$(BIN)/pip-audit --local --skip-editable

docs: .venv/.installed
	$(BIN)/python -m pytest -m docs tests/docs

install: .venv/.installed

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -e '.[dev,docs,onnx]'
	touch $@

clean:
	rm -rf .venv build dist *.egg-info .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
