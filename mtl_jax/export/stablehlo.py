"""StableHLO: the compiled function itself, for JAX on any platform and any number of examples."""

from __future__ import annotations

from pathlib import Path

import jax
from jax import export as jax_export

from mtl_jax._core.errors import UserError, reason
from mtl_jax.export.deployed import Deployed, told

PLATFORMS = ("cpu", "cuda", "tpu")

PROGRAM = """
import jax, numpy
from jax import export

def run(path, arrays):
  with open(path, "rb") as file:
    exported = export.deserialize(bytearray(file.read()))
  return {name: numpy.asarray(value) for name, value in jax.jit(exported.call)(arrays).items()}
"""


def write(path: Path, model: Deployed, batch: int | None) -> None:
  """Writes the function for CPU, GPU and TPU.

  Args:
    path: The file.
    model: The model.
    batch: The number of examples; None: any.

  Raises:
    UserError: An operation of the model cannot be stored, which is named; or flatbuffers is not installed.
  """
  (count,) = jax_export.symbolic_shape("b") if batch is None else (batch,)
  like = {key: jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype) for key, leaf in model.inputs.items()}
  try:
    stored = jax_export.export(jax.jit(model.function), platforms=PLATFORMS)(like).serialize()
  except ImportError as error:
    raise UserError("export to stablehlo needs an extra: pip install 'mtl-jax[export]'.") from error
  except Exception as error:  # whatever a model's operations make of a free number of examples
    raise UserError(f"this model cannot be exported to stablehlo{told(batch)}: {reason(error)}.") from error
  path.write_bytes(stored)
