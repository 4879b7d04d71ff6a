"""A fingerprint of a data set: small enough to keep with a run, and another for other examples."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mtl_jax.data.arrays import as_arrays, leaves_of, size_of

_AT_ONCE = 2**24
"""About how many bytes of an array that does not lie in one piece are copied at a time."""


class Fingerprint(NamedTuple):
  """What tells two data sets apart.

  Attributes:
    examples: The number of examples.
    contents: A digest of names, dtypes, shapes and all values, in their order.
  """

  examples: int
  contents: str


def fingerprint(arrays: Mapping[str, Any]) -> Fingerprint:
  """The fingerprint of a data set; every byte counts, at about 0.1 s for 100 MB.

  Args:
    arrays: The data set, `{key: (N, ...)}`; entries may be trees of arrays. The order of entries does not matter.

  Returns:
    The fingerprint.

  >>> one, other = fingerprint({"x": np.arange(4)}), fingerprint({"x": np.array([0, 1, 2, 4])})
  >>> one.examples, one == fingerprint({"x": np.arange(8)[:4]}), one == other
  (4, True, False)
  """
  arrays = as_arrays(arrays)
  digest = hashlib.blake2b(digest_size=16)
  for path, leaf in sorted(leaves_of(arrays).items()):
    digest.update(f"{path} {leaf.dtype} {leaf.shape}\n".encode())
    rows = max(1, _AT_ONCE * len(leaf) // max(1, leaf.nbytes))
    for start in range(0, len(leaf), rows):
      digest.update(np.ascontiguousarray(leaf[start : start + rows]).reshape(-1).view(np.uint8).data)
  return Fingerprint(size_of(arrays), digest.hexdigest())
