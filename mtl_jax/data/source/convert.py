"""`as_source`, any data that training takes as a `Source`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.data.arrays import leaves_of
from mtl_jax.data.source.examples import Examples
from mtl_jax.data.source.in_memory import InMemory
from mtl_jax.data.source.protocol import Source, read
from mtl_jax.data.source.stream import Stream


def as_source(data: Any, what: str = "data") -> Source:
  """The source that data are.

  Args:
    data: A dictionary of arrays `{key: (N, ...)}` in memory, a `Source`, a `grain.MapDataset`, or a sequence of example
      dictionaries, such as a `grain.sources.RandomAccessDataSource` or a list.
    what: What they are, for messages.

  Returns:
    The source; a `Source` itself as it is, once a read example has shown that it keeps its word.

  Raises:
    UserError: None of these; no examples; arrays of different lengths; or examples that differ from the spec.

  >>> source = as_source({"x": [[1, 2], [3, 4]], "y": [0, 1]})
  >>> len(source), source.spec["x"].shape, source.rows(np.array([1]))["x"]
  (2, (2,), array([[3, 4]]))
  """
  if isinstance(data, InMemory | Examples):
    return data
  if isinstance(data, Mapping):
    return InMemory(data)
  if isinstance(data, Stream):
    raise UserError(f"{what} is a stream, whose examples have no numbers: only fit(train=) takes one.")
  if isinstance(data, Source):
    _check_source(data, what)
    return data
  if _holds_examples(data):
    return Examples(data, f"{what} ({type(data).__name__})")
  if hasattr(data, "sources"):  # a Mixture, which is made of this module
    raise UserError(f"{what} is a mixture of several sources, expected one: only fit and make_evaluate take mixtures.")
  raise UserError(
    f"{what} is a {type(data).__name__}, expected a dictionary of arrays {{key: (N, ...)}}, a source of "
    "mtl.data.source or with spec, len and rows, or a grain.MapDataset or sequence of example dictionaries."
  )


def _check_source(source: Source, what: str) -> None:
  name = f"{what} ({type(source).__name__})"
  if not isinstance(source.spec, Mapping) or not leaves_of(source.spec):
    raise UserError(f"the spec of {name} is {source.spec!r}, expected {{key: tree of jax.ShapeDtypeStruct}}.")
  for path, leaf in leaves_of(source.spec).items():
    if not isinstance(leaf, jax.ShapeDtypeStruct):
      raise UserError(f"{path!r} in the spec of {name} is {leaf!r}, expected a jax.ShapeDtypeStruct of one example.")
  size = len(source)
  if size < 1:
    raise UserError(f"{name} is empty, expected examples.")
  try:
    read(source, np.array([size]))
  except IndexError as error:
    raise UserError(
      f"{name} has no number {size}, which is example 0 in its second epoch: let rows take numbers % {size}."
    ) from error


def _holds_examples(data: Any) -> bool:
  if isinstance(data, str | bytes | np.ndarray) or not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
    return False
  import grain

  return isinstance(data, grain.MapDataset) or not len(data) or isinstance(data[0], Mapping)
