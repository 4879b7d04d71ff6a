"""A digest of a traced program: another for any other operation, setting or constant."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import jax.extend.core as jex
import numpy as np

from mtl_jax._jaxpr.equations import jaxpr_of, programs_in


def digest(program: Any) -> str:
  """A digest of the text of a closed jaxpr and of its constants, the same in every process of one version of JAX.

  >>> import jax
  >>> one, same, other = (digest(jax.make_jaxpr(lambda x, k=k: k * x)(1.0)) for k in (2.0, 2.0, 3.0))
  >>> one == same, one == other
  (True, False)
  """
  found = hashlib.sha256(re.sub(r" at 0x[0-9a-f]+", "", str(program)).encode())
  for value in _constants(program):
    found.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
  return found.hexdigest()


def _constants(program: Any) -> Iterator[np.ndarray]:
  """Closed-over arrays, of which the text shows the shapes alone, and numbers, which it may round."""
  yield from map(np.asarray, getattr(program, "consts", ()))
  for eqn in jaxpr_of(program).eqns:
    yield from (np.asarray(var.val) for var in eqn.invars if isinstance(var, jex.Literal))
    for inside in programs_in(eqn):
      yield from _constants(inside)
