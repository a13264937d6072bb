# Every target sets itself up: Python 3.11 or newer with venv is all that must be there.
PYTHON ?= python3
BIN := .venv/bin
# Bytecode is kept whatever the environment says: without it torch takes three times as long to import, everywhere.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: grid up submit test test-slow lint bench costs pictures gpu-bundle gpu-check lock clean
.DELETE_ON_ERROR:

# The main job: eight methods on the embedded digits, on Ray, with MLflow, Parquet and the report.
grid: .venv/ready
	$(BIN)/python -m orchestrator.grid --recipe digits

# A cluster from an edited file, with a token: make up FILE=clusters/aws.yaml
up: .venv/ready
	@$(BIN)/python -m orchestrator.cluster_file $(FILE)
	@test -e ~/.ray/auth_token || $(BIN)/ray get-auth-token --generate > /dev/null
	@chmod 600 ~/.ray/auth_token # Ray leaves it readable to everyone on this machine
	$(BIN)/ray up $(ARGS) $(FILE)

# A job on a running cluster, followed to its end: make submit ARGS="--recipe digits"
ADDRESS ?= http://127.0.0.1:8265
submit: .venv/ready
	RAY_AUTH_MODE=$${RAY_AUTH_MODE:-token} $(BIN)/ray job submit --address $(ADDRESS) --working-dir . -- \
		python -m orchestrator.grid $(ARGS)

# What CI runs first, on several cores, a file's tests together; then test-slow, one by one.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" --numprocesses auto --maxprocesses 4 --dist loadfile

test-slow: .venv/ready
	$(BIN)/python -m pytest -m slow

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# Side-by-side ratios on this machine, written to tests/bench/RESULTS.md.
bench: .venv/ready
	$(BIN)/python -m tests.bench

# Multiply-accumulates of the networks that are here, which plans count with: core/network_costs.json.
costs: .venv/ready
	$(BIN)/python -m core.network_costs

# Pictures of the report, the MLflow pages and the terminal, of a finished grid, by the machine's Chromium.
pictures: .venv/ready
	$(BIN)/python -m tests.pictures $(ARGS)

# What a GPU machine without network lacks, into .gpu/: make gpu-bundle DATA=dir ARGS="--python 3.12"
gpu-bundle:
	$(PYTHON) -m tests.gpu_check.bundle $(if $(DATA),--data "$(DATA)") $(ARGS)

# There, with its own Python and no installation: make gpu-check BUDGET=20m [OUT=dir] [FROM=dir] [TAKE=dir]
BUDGET ?= 20m
gpu-check:
	$(PYTHON) -m tests.gpu_check --budget $(BUDGET) $(if $(filter command%,$(origin OUT)),--out "$(OUT)") $(if $(DATA),--data "$(DATA)") \
		$(if $(FROM),--from "$(FROM)") $(if $(TAKE),--take "$(TAKE)") $(ARGS)

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
	rm -rf .venv runs .import_linter_cache .mypy_cache .ruff_cache .pytest_cache
