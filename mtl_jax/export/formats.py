"""The formats of exported models: how what is stored is made, and how it is run without this library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mtl_jax.export import onnx, safetensors, savedmodel, stablehlo, tflite
from mtl_jax.export.deployed import Deployed
from mtl_jax.export.elsewhere import elsewhere

Write = Callable[[Deployed, Path, int | None, str | None], None]
Run = Callable[[Deployed, Path, Mapping[str, Any], int], Mapping[str, Any]]


class Format(NamedTuple):
  """A format.

  Attributes:
    write: `write(model, path, batch, quantize)` writes a file, or a directory, for so many examples (None: any number),
      with weights so quantized (None: not at all). It raises what it likes where it cannot hold an operation.
    run: `run(model, path, arrays, batch) -> outputs`, what is stored read again and run, on so many examples at once.
      Most formats are run by `elsewhere`, in a process that knows their own runtime alone.
    extra: The extra that it needs.
    suffix: Of the file or directory.
    told: What it is for, in some words.
    batch: The number of examples that it takes where none is told; None: any.
    quantize: How weights can be quantized.
  """

  write: Write
  run: Run
  extra: str
  suffix: str
  told: str
  batch: int | None = None
  quantize: tuple[str, ...] = ()


FORMATS: Mapping[str, Format] = {
  "onnx": Format(
    onnx.write,
    elsewhere(onnx.PROGRAM),
    "onnx",
    ".onnx",
    "ONNX Runtime and what else reads ONNX",
    quantize=tuple(onnx.QUANTIZED),
  ),
  "safetensors": Format(
    safetensors.write, safetensors.run, "safetensors", "", "this library, and the hub of Hugging Face"
  ),
  "savedmodel": Format(
    savedmodel.write, elsewhere(savedmodel.PROGRAM), "savedmodel", ".savedmodel", "TensorFlow, and TensorFlow Serving"
  ),
  "stablehlo": Format(
    stablehlo.write, elsewhere(stablehlo.PROGRAM), "export", ".stablehlo", "JAX alone, on CPU, GPU and TPU"
  ),
  "tflite": Format(
    tflite.write,
    elsewhere(tflite.PROGRAM),
    "tflite",
    ".tflite",
    "LiteRT, on telephones and small devices",
    batch=1,
    quantize=tuple(tflite.QUANTIZED),
  ),
}
"""The formats, by name."""
