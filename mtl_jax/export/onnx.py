"""ONNX, by the library jax2onnx."""

from __future__ import annotations

import importlib
from typing import Any

import jax

from mtl_jax.export.deployed import Deployed

PROGRAM = """
import numpy, onnxruntime

def run(path, arrays):
  session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
  names = [output.name for output in session.get_outputs()]
  return dict(zip(names, session.run(names, arrays)))
"""


def made(model: Deployed, batch: int | None) -> bytes:
  """The model with named inputs and outputs.

  Args:
    model: The model.
    batch: The number of examples; None: any.

  Returns:
    The file.
  """
  to_onnx: Any = importlib.import_module("jax2onnx").to_onnx
  names, outputs = list(model.inputs), list(model.outputs)

  def positional(*arrays: Any) -> Any:
    found = model.function(dict(zip(names, arrays, strict=True)))
    return tuple(found[name] for name in outputs)

  like = [jax.ShapeDtypeStruct((batch or "B", *leaf.shape), leaf.dtype) for leaf in model.inputs.values()]
  return to_onnx(positional, inputs=like, input_names=names, output_names=outputs).SerializeToString()
