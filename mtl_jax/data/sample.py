"""What can be known of data by looking at some of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mtl_jax.data.arrays import as_arrays
from mtl_jax.data.mixture import Mixture
from mtl_jax.data.source.convert import as_source
from mtl_jax.data.source.in_memory import InMemory
from mtl_jax.data.source.protocol import Source, read, spec_of_rows
from mtl_jax.data.source.stream import Stream
from mtl_jax.data.views import path_of

AT_MOST = 1024
"""Examples of a sample."""


class Sample(NamedTuple):
  """Some examples of a data set.

  Attributes:
    arrays: `{key: (n, ...)}`.
    told: Which examples these are, for messages; empty: all.
  """

  arrays: dict[str, Any]
  told: str


def spec_of(data: Any) -> Mapping[str, Any]:
  """The shapes and dtypes of one example of whatever training takes."""
  if isinstance(data, Mapping):
    return spec_of_rows(as_arrays(data))
  return data.spec if isinstance(data, Source | Stream | Mixture) else as_source(data).spec


def first(data: Any, count: int) -> dict[str, Any]:
  """The first examples of a data set, or of each source of a mixture, as a batch has them.

  >>> first({"x": np.arange(3)}, 2)
  {'x': array([0, 1])}
  """
  if isinstance(data, Mixture):
    parts = {name: first(source, count) for name, source in data.sources.items()}
    return {path_of(name, key): entry for name, part in parts.items() for key, entry in part.items()}
  source = as_source(data)
  return read(source, np.arange(min(count, len(source))))


def sample(data: Any) -> Sample:
  """All arrays in memory; of other sources at most 1024 examples, evenly spread; of a stream the first batch.

  >>> sample({"x": np.arange(3)}).arrays
  {'x': array([0, 1, 2])}
  """
  if isinstance(data, Stream):
    return Sample(data.first, " (in the first batch of the stream)")
  source = as_source(data)
  if isinstance(source, InMemory):
    return Sample(source.arrays, "")
  every = -(-len(source) // AT_MOST)
  told = f" (counted in a sample, every {every}th example)" if every > 1 else ""
  return Sample(read(source, np.arange(0, len(source), every)), told)
