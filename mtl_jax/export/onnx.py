"""ONNX, by the library jax2onnx."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any

from mtl_jax.export.deployed import Deployed

PROGRAM = """
import numpy, onnxruntime

def opened(path):
  session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
  names = [output.name for output in session.get_outputs()]
  return lambda arrays: dict(zip(names, session.run(names, arrays)))
"""


def write(model: Deployed, path: Path, batch: int | None, quantize: str | None) -> None:
  """Writes the model with named inputs and outputs.

  Args:
    model: The model.
    path: The file.
    batch: The number of examples; None: any.
    quantize: One of `QUANTIZED`, or None.
  """
  to_onnx: Any = importlib.import_module("jax2onnx").to_onnx
  names, outputs = list(model.inputs), list(model.outputs)

  def positional(*arrays: Any) -> Any:
    found = model.function(dict(zip(names, arrays, strict=True)))
    return tuple(found[name] for name in outputs)

  like = list(model.like(batch or "B").values())
  made = to_onnx(positional, inputs=like, input_names=names, output_names=outputs)
  if quantize is not None:
    made = QUANTIZED[quantize](made)
  path.write_bytes(made.SerializeToString())


def _int8(made: Any) -> Any:
  """Products with weights of 8 bits; the other factor is brought to 8 bits by its own range at each call."""
  quantization: Any = importlib.import_module("onnxruntime.quantization")
  onnx: Any = importlib.import_module("onnx")
  with tempfile.TemporaryDirectory() as directory:
    place = str(Path(directory, "int8.onnx"))
    quantization.quantize_dynamic(made, place, weight_type=quantization.QuantType.QInt8)
    return onnx.load(place)


def _fp16(made: Any) -> Any:
  """Weights and what is computed in 16 bits; inputs and outputs stay as they are."""
  float16: Any = importlib.import_module("onnxruntime.transformers.float16")
  return float16.convert_float_to_float16(made, keep_io_types=True)


QUANTIZED = {"int8": _int8, "fp16": _fp16}
"""How weights can be quantized."""
