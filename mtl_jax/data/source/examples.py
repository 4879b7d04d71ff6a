"""Examples that something else reads one by one, such as Grain, as a source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.data.arrays import as_arrays
from mtl_jax.data.source.protocol import check_rows, spec_of_rows


def stacked(
  examples: Sequence[Any], spec: Mapping[str, Any], single: Callable[[int], dict[str, Any]]
) -> dict[str, Any]:
  """Examples as a batch, `{key: (B, ...)}`.

  Args:
    examples: The examples, in dictionaries.
    spec: Of one example.
    single: The example at a place as a batch of one, by its place: asked of those that are not just as the spec says,
      such as with lists for arrays; raises where one is of another shape.
  """
  wanted, structure = jax.tree.flatten(dict(spec))
  kinds = [(leaf.shape, leaf.dtype) for leaf in wanted]
  columns = [[] for _ in wanted]
  for place, example in enumerate(examples):
    leaves, found = jax.tree.flatten(example)
    leaves = list(map(np.asarray, leaves))
    if found != structure or [(leaf.shape, leaf.dtype) for leaf in leaves] != kinds:
      leaves = [leaf[0] for leaf in jax.tree.leaves(single(place))]
    for column, leaf in zip(columns, leaves, strict=True):
      column.append(leaf)
  return jax.tree.unflatten(structure, [np.stack(column) for column in columns])


class Examples:
  """The source of a `grain.MapDataset` or of a sequence of example dictionaries, `{key: tree of arrays or numbers}`.

  A `MapDataset` sees the numbers of later epochs and may draw anew; other sequences are asked for those below their
  length, several at once if they have `__getitems__`.

  Args:
    dataset: The examples.
    what: What they are, for messages.

  Raises:
    UserError: No examples, or the first one is no dictionary of numbers.
  """

  def __init__(self, dataset: Any, what: str):
    """Reads the first example for the spec."""
    self._dataset, self._what = dataset, what
    if not len(dataset):
      raise UserError(f"{what} is empty, expected examples.")
    self.spec = spec_of_rows(self._single(0, dataset[0]))

  def __len__(self) -> int:
    return len(self._dataset)

  def rows(self, numbers: np.ndarray) -> dict[str, Any]:
    """The examples of these numbers, stacked."""
    examples = self._examples(numbers)

    def single(place):
      found = self._single(int(numbers[place]), examples[place])
      check_rows(f"example {numbers[place] % len(self)} of {self._what}", found, self.spec, 1)
      return found

    return stacked(examples, self.spec, single)

  def _examples(self, numbers: np.ndarray) -> Sequence[Any]:
    import grain

    if isinstance(self._dataset, grain.MapDataset):
      return [self._dataset[number] for number in numbers.tolist()]
    wrapped = (numbers % len(self)).tolist()
    several = getattr(self._dataset, "__getitems__", None)
    return [self._dataset[number] for number in wrapped] if several is None else several(wrapped)

  def _single(self, number: int, example: Any) -> dict[str, Any]:
    """An example as a batch of one."""
    if not isinstance(example, Mapping):
      raise UserError(
        f"example {number % len(self)} of {self._what} is {type(example).__name__}, expected a dictionary of "
        "arrays and numbers: decode before, and leave out filters."
      )
    single = as_arrays({key: jax.tree.map(lambda leaf: np.asarray(leaf)[None], part) for key, part in example.items()})
    for key, entry in single.items():
      if any(leaf.dtype.hasobject or leaf.dtype.kind in "SUV" for leaf in jax.tree.leaves(entry)):
        raise UserError(f"entry {key!r} of {self._what} holds no numbers: leave it out.")
    return single
