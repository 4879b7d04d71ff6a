"""How long a call of an exported model takes in its own runtime."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax.export import onnx, savedmodel, stablehlo, tflite
from mtl_jax.export.elsewhere import code_of

PROGRAMS = {
  "onnx": onnx.PROGRAM,
  "savedmodel": savedmodel.PROGRAM,
  "stablehlo": stablehlo.PROGRAM,
  "tflite": tflite.PROGRAM,
}
CALLS = 21
_MAIN = f"""
import time, numpy

place, given = sys.argv[1:]
with numpy.load(given) as arrays:
  arrays = dict(arrays)
run, seconds = opened(place), []
for _ in range({CALLS} + 2):
  begun = time.perf_counter()
  run(arrays)
  seconds.append(time.perf_counter() - begun)
print(float(numpy.median(seconds[2:])))
"""


def seconds_elsewhere(format: str, path: Path, arrays: Mapping[str, Any]) -> float:
  """The median time of a call on these examples, in a process of its own."""
  with tempfile.TemporaryDirectory() as directory:
    given = Path(directory, "given.npz")
    np.savez(given, **dict[str, Any](arrays))
    words = [sys.executable, "-c", code_of(PROGRAMS[format], _MAIN), str(path), str(given)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
  return float(done.stdout.strip().splitlines()[-1])


def seconds_here(call: Callable[..., Any], arrays: Mapping[str, Any]) -> float:
  """The same of a function in this process, whose outputs are brought to numpy as runtimes do."""
  seconds = []
  for _ in range(CALLS + 2):
    begun = time.perf_counter()
    _ = {name: np.asarray(value) for name, value in call(arrays).items()}
    seconds.append(time.perf_counter() - begun)
  return float(np.median(seconds[2:]))
