"""SavedModel: the function for TensorFlow, which runs its StableHLO."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export as jax_export

from mtl_jax._jaxpr.sorting import sorting
from mtl_jax.export.deployed import Deployed
from mtl_jax.export.stablehlo import count_of

VERSION = "1.10.0"
"""Of StableHLO, in which the function is stored: TensorFlow reads no newer one than it knows (2.21: up to 1.13)."""

PROGRAM = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
import tensorflow

def opened(path):
  module = tensorflow.saved_model.load(path)
  serve = module.signatures["serving_default"]
  names = list(serve.structured_input_signature[1])

  def run(arrays):
    given = {name.replace("/", "_"): tensorflow.constant(values) for name, values in arrays.items()}
    return {name: values.numpy() for name, values in serve(**{name: given[name] for name in names}).items()}

  return run
"""


def write(model: Deployed, path: Path, batch: int | None, quantize: str | None) -> None:
  """Writes the model with the signature `serving_default`.

  Args:
    model: The model. Inputs have `_` in the place of each `/`, as `x_image`.
    path: The directory.
    batch: The number of examples; None: any.
    quantize: None.
  """
  # TensorFlow finds the best k in no array of free size, and LiteRT sorts none.
  save(model, path, batch, sorting(model.function) if batch is None else model.function)


def save(model: Deployed, path: Path, batch: int | None, function: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
  """The same, of a function in the place of the model's.

  Args:
    model: The model.
    path: The directory.
    batch: The number of examples; None: any.
    function: The function.
  """
  # What jax2tf calls, which itself stores the newest StableHLO that JAX writes.
  tf, xla = importlib.import_module("tensorflow"), importlib.import_module("tensorflow.compiler.tf2xla.python.xla")
  stablehlo: Any = importlib.import_module("jaxlib.mlir.dialects.stablehlo")
  like = model.like(count_of(batch))

  def positional(*arrays: Any) -> dict[str, Any]:
    return function(dict(zip(like, arrays, strict=True)))

  exported = jax_export.export(jax.jit(positional), platforms=("cpu",))(*like.values())
  code = stablehlo.serialize_portable_artifact_str(exported.mlir_module(), VERSION)
  names = list(jax.tree.unflatten(exported.out_tree, range(len(exported.out_avals))))

  def shape(leaf: Any) -> list[int | None]:
    return [size if isinstance(size, int) else None for size in leaf.shape]

  def spec(name: str, leaf: Any) -> Any:
    return tf.TensorSpec(shape(leaf), np.dtype(leaf.dtype), name=name.replace("/", "_"))

  @tf.function(autograph=False, input_signature=[spec(name, leaf) for name, leaf in like.items()])
  def serve(*arrays: Any) -> dict[str, Any]:
    found = xla.call_module(
      [arrays[i] for i in exported.module_kept_var_idx],
      module=code,
      Sout=[tf.TensorShape(shape(leaf)) for leaf in exported.out_avals],
      Tout=[np.dtype(leaf.dtype) for leaf in exported.out_avals],
      platforms=["CPU"],
      version=exported.calling_convention_version,
    )
    return dict(zip(names, found, strict=True))

  module = tf.Module()
  module.serve = serve
  tf.saved_model.save(module, str(path), signatures={"serving_default": serve})
