PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: demo test format clean

# The main job: three tasks on real data, single-task training against three ways of sharing one model.
demo: .venv/.demo
	rm -rf runs/demo
	$(BIN)/mtl-jax compare digits --balancers equal uncertainty pcgrad --seeds 2 --out runs/demo

test: .venv/.dev .venv/.tpu
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m pytest --numprocesses logical --dist worksteal

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.demo: pyproject.toml .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[plots,tables]'
	touch $@

.venv/.dev: pyproject.toml .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ .venv/.demo

# The compiler for TPUs, for the tests that read its programs; out of the way of JAX, which would look for TPUs with it.
.venv/.tpu: .venv/.dev
	$(BIN)/python -m pip install --quiet --no-deps --target .venv/tpu --upgrade "$$($(BIN)/python -c \
	  'import importlib.metadata as m; print(next(r for r in m.requires("jax") if r.startswith("libtpu")).split(";")[0])')"
	touch $@

clean:
	rm -rf .venv runs
