"""TFLite: the function for LiteRT, made of a SavedModel."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any

from mtl_jax.export import savedmodel
from mtl_jax.export.deployed import Deployed

QUANTIZED = {"int8": (), "fp16": ("float16",)}
"""How weights can be quantized: the types of TensorFlow that they may have beside those of 8 bits."""

PROGRAM = """
import numpy
from ai_edge_litert.interpreter import Interpreter

def opened(path):
  run = Interpreter(model_path=path).get_signature_runner("serving_default")
  return lambda arrays: run(**{name.replace("/", "_"): values for name, values in arrays.items()})
"""


def write(model: Deployed, path: Path, batch: int | None, quantize: str | None) -> None:
  """Writes the model with the signature `serving_default`.

  Args:
    model: The model. Inputs have `_` in the place of each `/`, as `x_image`.
    path: The file.
    batch: The number of examples; None: any.
    quantize: `"int8"`: weights of 8 bits, computed with by the range of each call; `"fp16"`: weights of 16 bits.
  """
  tf: Any = importlib.import_module("tensorflow")
  with tempfile.TemporaryDirectory() as directory:
    savedmodel.save(model, Path(directory), batch, model.function)
    converter = tf.lite.TFLiteConverter.from_saved_model(directory)
    if quantize is not None:
      converter.optimizations = [tf.lite.Optimize.DEFAULT]
      converter.target_spec.supported_types = [getattr(tf, name) for name in QUANTIZED[quantize]]
    path.write_bytes(converter.convert())
