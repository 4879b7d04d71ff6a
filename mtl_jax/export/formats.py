"""The formats of exported models: how a file is made, and how a program without this library runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from mtl_jax.export import onnx, stablehlo
from mtl_jax.export.deployed import Deployed


class Format(NamedTuple):
  """A format.

  Attributes:
    made: `made(deployed, batch) -> bytes`, the file, for so many examples; None: for any number. It raises what it
      likes where it cannot hold an operation.
    extra: The extra that it needs.
    program: Python code with a function `run(path, arrays) -> outputs`, which reads the file in the format's own
      runtime: numpy arrays by name in, numpy arrays by name out.
    suffix: Of the file.
    told: What it is for, in some words.
  """

  made: Callable[[Deployed, int | None], bytes]
  extra: str
  program: str
  suffix: str
  told: str


FORMATS: Mapping[str, Format] = {
  "onnx": Format(onnx.made, "onnx", onnx.PROGRAM, ".onnx", "ONNX Runtime and what else reads ONNX"),
  "stablehlo": Format(stablehlo.made, "export", stablehlo.PROGRAM, ".stablehlo", "JAX alone, on CPU, GPU and TPU"),
}
"""The formats, by name."""
