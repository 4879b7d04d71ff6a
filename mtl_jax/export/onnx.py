"""ONNX, by the library jax2onnx."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import jax

from mtl_jax._core.errors import UserError, reason
from mtl_jax.export.deployed import Deployed, told

PROGRAM = """
import numpy, onnxruntime

def run(path, arrays):
  session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
  names = [output.name for output in session.get_outputs()]
  return dict(zip(names, session.run(names, arrays)))
"""


def write(path: Path, model: Deployed, batch: int | None) -> None:
  """Writes the model with named inputs and outputs.

  Args:
    path: The file.
    model: The model.
    batch: The number of examples; None: any.

  Raises:
    UserError: An operation of the model has no counterpart, which is named; or jax2onnx is not installed.
  """
  to_onnx = _converter()
  names, outputs = list(model.inputs), list(model.outputs)

  def positional(*arrays: Any) -> Any:
    found = model.function(dict(zip(names, arrays, strict=True)))
    return tuple(found[name] for name in outputs)

  like = [jax.ShapeDtypeStruct((batch or "B", *leaf.shape), leaf.dtype) for leaf in model.inputs.values()]
  try:
    made = to_onnx(positional, inputs=like, input_names=names, output_names=outputs)
  except Exception as error:  # whatever the converter makes of operations that it does not know
    raise UserError(f"this model cannot be exported to onnx{told(batch)}: {reason(error)}.") from error
  path.write_bytes(made.SerializeToString())


def _converter() -> Any:
  try:
    return importlib.import_module("jax2onnx").to_onnx
  except ImportError as error:
    raise UserError("export to onnx needs an extra: pip install 'mtl-jax[onnx]'.") from error
