"""The formats of exported models: how a file is written, and how a program without this library runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from mtl_jax.export import onnx, stablehlo
from mtl_jax.export.deployed import Deployed


class Format(NamedTuple):
  """A format.

  Attributes:
    write: `write(path, deployed, batch)` writes the file, for so many examples; None: for any number.
    program: Python code with a function `run(path, arrays) -> outputs`, which reads the file in the format's own
      runtime: numpy arrays by name in, numpy arrays by name out.
    suffix: Of the file.
    told: What it is for, in some words.
  """

  write: Callable[[Path, Deployed, int | None], None]
  program: str
  suffix: str
  told: str


FORMATS: Mapping[str, Format] = {
  "onnx": Format(onnx.write, onnx.PROGRAM, ".onnx", "ONNX Runtime and what else reads ONNX"),
  "stablehlo": Format(stablehlo.write, stablehlo.PROGRAM, ".stablehlo", "JAX alone, on CPU, GPU and TPU"),
}
"""The formats, by name."""
