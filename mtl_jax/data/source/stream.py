"""`stream`, batches as some iterator gives them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mtl_jax._core.errors import UserError
from mtl_jax.data.arrays import as_arrays, check_lengths
from mtl_jax.data.source.protocol import check_rows, spec_of_rows


class Stream:
  """Batches in an order of their own; made by `stream`."""

  def __init__(self, make_iterator: Callable[[], Iterable[Mapping[str, Any]]], spec: Mapping[str, Any] | None):
    """Draws nothing yet."""
    self._make, self._spec = make_iterator, spec

  @functools.cached_property
  def first(self) -> dict[str, Any]:
    """The first batch of an iterator of its own."""
    batch = next(self.batches(None))
    check_lengths(batch)
    return batch

  @property
  def spec(self) -> Mapping[str, Any]:
    """The shapes and dtypes of one example."""
    return spec_of_rows(self.first) if self._spec is None else self._spec

  def batches(self, batch_size: int | None, start: int = 0) -> Iterator[dict[str, Any]]:
    """All batches after the first `start`, without end; an iterator that ends is made anew.

    Raises:
      UserError: A batch that is no dictionary of `batch_size` examples of the spec (None: is not looked at), or an
        iterator without any batch.
    """
    return itertools.islice(self._endless(batch_size), start, None)

  def _endless(self, batch_size: int | None) -> Iterator[dict[str, Any]]:
    while True:
      is_empty = True
      for batch in self._make():
        if not isinstance(batch, Mapping):
          raise UserError(f"the stream gives a {type(batch).__name__}, expected a dictionary of arrays per batch.")
        batch, is_empty = as_arrays(batch), False
        if batch_size is not None:
          check_rows("the stream", batch, self.spec, batch_size)
        yield batch
      if is_empty:
        raise UserError("the stream gives no batch: make_iterator must return a new iterator each time it is called.")


def stream(make_iterator: Callable[[], Iterable[Mapping[str, Any]]], spec: Mapping[str, Any] | None = None) -> Stream:
  """Training data that come in batches from an iterator, for `fit(train=)`.

  What has no numbers cannot be shuffled, nor resumed exactly: a run that goes on makes a new iterator, draws as many
  batches as the run had done, drops them, and says so in a warning. That is exact just when the iterator gives the same
  batches again.

  Args:
    make_iterator: Returns a new iterator of batches `{key: (B, ...)}`, B being the batch size of `fit`. Called once to
      look at the first batch, once at the start, and again whenever an iterator ends. With several processes each
      draws the same batches.
    spec: `{key: tree of jax.ShapeDtypeStruct}` of one example; None: as the first batch.

  Returns:
    The stream.

  >>> import numpy as np
  >>> pairs = stream(lambda: ({"x": np.full((2, 3), i)} for i in range(4)))
  >>> pairs.spec["x"].shape, [int(batch["x"][0, 0]) for batch, _ in zip(pairs.batches(2, start=3), range(3))]
  ((3,), [3, 0, 1])
  """
  return Stream(make_iterator, spec)
