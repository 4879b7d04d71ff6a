"""Processes that read and are killed: others go on, and what comes stays the same."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

import mtl_jax as mtl
from mtl_jax.data import _numbered, batches
from mtl_jax.data.source import mapped


def deadly(example, rng):
  """Kills the process that reads example 37, as often as there are files to take away."""
  if example["x"] == 37:
    for mark in Path(os.environ["MTL_JAX_TEST_MARKS"]).iterdir():
      mark.unlink()
      os.kill(os.getpid(), signal.SIGKILL)
  return {**example, "noise": rng.normal()}


def all_batches(workers):
  return list(batches(mapped({"x": np.arange(60)}, deadly, workers=workers), 6, seed=3, repeat=False))


@pytest.mark.slow
def test_others_go_on_for_a_process_that_dies(tmp_path, monkeypatch):
  monkeypatch.setenv("MTL_JAX_TEST_MARKS", str(tmp_path))
  expected = all_batches(0)
  (tmp_path / "once").touch()
  with pytest.warns(UserWarning, match=r"has died with exit code -9, at batch \d or soon after it: others go on"):
    found = all_batches(1)
  assert list(tmp_path.iterdir()) == [] and len(found) == 10
  for one, other in zip(found, expected, strict=True):
    np.testing.assert_equal(one, other)
  monkeypatch.setattr(_numbered, "DEATHS", 1)
  (tmp_path / "again").touch()
  with pytest.raises(mtl.UserError, match="1 times in a row: take fewer workers if memory is short, or none, which"):
    all_batches(1)


def test_other_errors_are_raised_as_they_are():
  def start_at(number):
    yield number
    raise RuntimeError("of its own")

  iterator = iter(_numbered.numbered(start_at))
  assert next(iterator) == 0
  with pytest.raises(RuntimeError, match="of its own"):
    next(iterator)
