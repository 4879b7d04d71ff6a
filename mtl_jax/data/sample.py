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


def few(data: Any, batch_size: int, examples: int = 256, most: int = 8) -> list[dict[str, Any]]:
  """The first examples of a data set, in batches of one size; of a mixture as many of each source.

  Args:
    data: The data set.
    batch_size: The most examples of a batch, over all sources; each has one at least.
    examples: How many of each source are enough.
    most: The most batches.

  Returns:
    The batches, one at least.

  >>> few({"x": np.arange(5)}, 2)
  [{'x': array([0, 1])}, {'x': array([2, 3])}]
  """
  sources = data.sources if isinstance(data, Mixture) else {"": as_source(data)}
  shortest = min(examples, *map(len, sources.values()))
  size = min(max(1, batch_size // len(sources)), shortest)

  def batch(start: int) -> dict[str, Any]:
    parts = {name: read(source, np.arange(start, start + size)) for name, source in sources.items()}
    if not isinstance(data, Mixture):
      return parts[""]
    return {path_of(name, key): entry for name, part in parts.items() for key, entry in part.items()}

  return [batch(number * size) for number in range(min(most, shortest // size))]


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
