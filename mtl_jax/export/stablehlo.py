"""StableHLO: the compiled function itself, for JAX on any platform and any number of examples."""

from __future__ import annotations

import jax
from jax import export as jax_export

from mtl_jax.export.deployed import Deployed

PLATFORMS = ("cpu", "cuda", "tpu")

PROGRAM = """
import jax, numpy
from jax import export

def run(path, arrays):
  with open(path, "rb") as file:
    exported = export.deserialize(bytearray(file.read()))
  return {name: numpy.asarray(value) for name, value in jax.jit(exported.call)(arrays).items()}
"""


def made(model: Deployed, batch: int | None) -> bytes:
  """The function for CPU, GPU and TPU.

  Args:
    model: The model.
    batch: The number of examples; None: any.

  Returns:
    The file.
  """
  (count,) = jax_export.symbolic_shape("b") if batch is None else (batch,)
  like = {key: jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype) for key, leaf in model.inputs.items()}
  return bytes(jax_export.export(jax.jit(model.function), platforms=PLATFORMS)(like).serialize())
