"""Running an exported model in a process that has its own runtime, and neither this library nor Flax."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.export.deployed import Deployed

_BARE = """
import sys

class Absent:
  def find_spec(self, name, path=None, target=None):
    if name.partition(".")[0] in ("mtl_jax", "flax"):
      raise ImportError(name + " is not here")

sys.meta_path.insert(0, Absent())
"""
_MAIN = """
import numpy

place, size, given, found = sys.argv[1:]
with numpy.load(given) as arrays:
  arrays, size = dict(arrays), int(size)
run = opened(place)
count = len(next(iter(arrays.values())))
calls = [run({name: values[i:i + size] for name, values in arrays.items()}) for i in range(0, count, size)]
numpy.savez(found, **{name: numpy.concatenate([call[name] for call in calls]) for name in calls[0]})
"""


def elsewhere(program: str) -> Callable[[Deployed, Path, Mapping[str, Any], int], dict[str, np.ndarray]]:
  """How a stored model is run by a program.

  Args:
    program: Python code with a function `opened(path) -> run`, which reads what is stored at a path in the format's own
      runtime, and `run(arrays) -> outputs`: numpy arrays by name in, numpy arrays by name out.

  Returns:
    `run(model, path, arrays, batch) -> outputs`; a `UserError` tells in one line why the program failed.
  """

  def run(model: Deployed, path: Path, arrays: Mapping[str, Any], batch: int) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as directory:
      given, found = Path(directory, "given.npz"), Path(directory, "found.npz")
      np.savez(given, **dict[str, Any](arrays))
      words = [str(path.absolute()), str(batch), str(given), str(found)]
      done = subprocess.run(
        [sys.executable, "-c", code_of(program), *words], capture_output=True, text=True, check=False
      )
      if done.returncode:
        raise UserError(f"export: what is stored cannot be run in its own runtime: {_error_in(done.stderr)}")
      with np.load(found) as outputs:
        return dict(outputs)

  return run


def _error_in(text: str) -> str:
  r"""The message of the error that ended a process, of all that it has written; a long one without its middle.

  >>> _error_in("noise\nTraceback (most recent call last):\n  File\nValueError: no such\n  [[thing]]\n")
  'ValueError: no such [[thing]]'
  """
  lines = text.rpartition("Traceback (most recent call last)")[2].splitlines()[1:]
  begin = next((i for i, line in enumerate(lines) if line and not line.startswith((" ", "\t"))), 0)
  told = " ".join(" ".join(lines[begin:] or [text]).split())
  return told if len(told) < 400 else f"{told[:150]} ... {told[-250:]}"


def code_of(program: str, main: str = _MAIN) -> str:
  """The code of such a process: of a program, and of what is done with it."""
  return _BARE + program + main
