# Every target sets itself up: Python 3.11 or newer with venv is all that must be there.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: grid test test-slow lint bench lock clean
.DELETE_ON_ERROR:

# The main job: eight methods on the embedded digits, on Ray, with MLflow, Parquet and the report.
grid: .venv/ready
	$(BIN)/python -m orchestrator.grid --recipe digits

# Everything CI runs.
test: lint
	$(BIN)/python -m pytest -m "not slow"

test-slow: .venv/ready
	$(BIN)/python -m pytest -m slow

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Side-by-side ratios on this machine, written to tests/bench/RESULTS.md.
bench: .venv/ready
	$(BIN)/python -m tests.bench

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

# Resolves anew; the lock holds hashes and no addresses.
lock: .venv/ready
	$(BIN)/uv pip compile --quiet pyproject.toml --group dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-header -o requirements.lock

clean:
	rm -rf .venv runs .mypy_cache .ruff_cache .pytest_cache
