"""What is said where a device has too little memory."""

from __future__ import annotations

import jax

from mtl_jax._core.errors import UserError, reason


def out_of_memory(error: Exception, batch_size: int) -> UserError | None:
  """The error to raise in place of one of the runtime's that says that memory is short; None for any other.

  >>> out_of_memory(ValueError("no"), 128) is None
  True
  """
  if not isinstance(error, jax.errors.JaxRuntimeError) or "RESOURCE_EXHAUSTED" not in str(error):
    return None
  return UserError(
    f"a device has too little memory for a step of {batch_size} examples ({reason(error)}): make the batch smaller "
    "(batch_size), compute its trunk in pieces (accumulate=2) or in bfloat16 (compute_dtype), or divide it among "
    "devices (mesh, rules). What fits is told beforehand by mtl-jax plan. The run goes on from its newest checkpoint."
  )
