"""Strict settings for all tests: no silent promotion of dtypes or ranks, annotations checked."""

import gc
import os

from tests._compiler import JAXLIB

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of the tests' time is the compiler's. What is left out changes neither fusions nor buffers.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# The older way of writing fused loops compiles twice as fast, and changes neither fusions nor buffers. Newer compilers
# do not have it, and end the process when they are asked for it.
if JAXLIB < (0, 11):
  os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_use_fusion_emitters=false"

from jaxtyping import install_import_hook

import tests._typecheck  # noqa: F401  (the hook reads it as an attribute of its package)

with install_import_hook("mtl_jax", "tests._typecheck.typechecked"):
  import mtl_jax  # noqa: F401

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_addoption(parser):
  parser.addoption("--first-cases", action="store_true", help="of a test with several cases run the first alone")


@pytest.hookimpl(trylast=True)  # after those that take long have been left out
def pytest_collection_modifyitems(config, items):
  """With `--first-cases` a test of many values or methods is tried with one of them: most faults show there, too."""
  if config.getoption("first_cases"):
    first = {item.nodeid.partition("[")[0]: item for item in reversed(items)}
    config.hook.pytest_deselected(items=[item for item in items if item is not first[item.nodeid.partition("[")[0]]])
    items[:] = reversed(first.values())


def pytest_collection_finish():
  """What is there before the first test stays: to look through it again and again is a twentieth of the tests' time."""
  gc.freeze()
  gc.set_threshold(10_000, 10, 10)


DATA = os.environ.get("MTL_JAX_DATA", "")  # as it is outside of the tests that change it


@pytest.fixture
def real_data():
  """The directory of `MTL_JAX_DATA`, for a test that needs the file there that it names."""

  def directory(*path):
    if not os.path.isfile(os.path.join(DATA, *path)):
      pytest.skip(f"MTL_JAX_DATA is not set to a directory that holds {'/'.join(path)}")
    return DATA

  return directory
