"""StableHLO: the compiled function itself, for JAX on any platform and any number of examples."""

from __future__ import annotations

from pathlib import Path

import jax
from jax import export as jax_export

from mtl_jax.export.deployed import Deployed

PLATFORMS = ("cpu", "cuda", "tpu")

PROGRAM = """
import jax, numpy
from jax import export

def opened(path):
  with open(path, "rb") as file:
    call = jax.jit(export.deserialize(bytearray(file.read())).call)
  return lambda arrays: {name: numpy.asarray(value) for name, value in call(arrays).items()}
"""


def write(model: Deployed, path: Path, batch: int | None, quantize: str | None) -> None:
  """Writes the function for CPU, GPU and TPU.

  Args:
    model: The model.
    path: The file.
    batch: The number of examples; None: any.
    quantize: None.
  """
  like = model.like(count_of(batch))
  path.write_bytes(jax_export.export(jax.jit(model.function), platforms=PLATFORMS)(like).serialize())


def count_of(batch: int | None) -> object:
  """The number of examples in the shapes of a function to be stored, or what stands for any."""
  return jax_export.symbolic_shape("b")[0] if batch is None else batch
