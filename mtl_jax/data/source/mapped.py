"""`mapped`, a source whose examples pass through a function in numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.data.arrays import as_arrays
from mtl_jax.data.source.convert import as_source
from mtl_jax.data.source.examples import stacked
from mtl_jax.data.source.protocol import Reading, Source, check_rows, read, spec_of_rows

Function = Callable[[dict[str, Any], np.random.Generator], Mapping[str, Any]]


class Mapped:
  """A source of examples that pass through a function; made by `mapped`."""

  def __init__(self, source: Source, function: Function, seed: int, reading: Reading):
    """Calls the function once, for the spec."""
    self._source, self._function, self._seed, self.reading = source, function, seed, reading
    (first,) = self._results(np.array([0]))
    self.spec = spec_of_rows(_single(0, first))

  def __len__(self) -> int:
    return len(self._source)

  def rows(self, numbers: np.ndarray) -> dict[str, Any]:
    """The examples of these numbers, each after the function."""
    found = self._results(numbers)

    def single(place):
      number = numbers[place] % len(self)
      example = _single(int(number), found[place])
      check_rows(f"the function of mapped, for example {number},", example, self.spec, 1)
      return example

    return stacked(found, self.spec, single)

  def _results(self, numbers: np.ndarray) -> list[Any]:
    """What the function returns for the examples of these numbers."""
    leaves, structure = jax.tree.flatten(read(self._source, numbers))
    results = []
    for place, number in enumerate(numbers.tolist()):
      example = jax.tree.unflatten(structure, [leaf[place] for leaf in leaves])
      rng = np.random.default_rng([self._seed, *divmod(number, len(self))])  # of epoch and example
      results.append(self._function(example, rng))
    return results


def _single(number: int, found: Any) -> dict[str, Any]:
  """A result as a batch of one."""
  if not isinstance(found, Mapping) or not found:
    raise UserError(
      f"the function of mapped returned {found!r:.80} for example {number}, expected a dictionary of arrays."
    )
  return as_arrays({key: jax.tree.map(lambda leaf: np.asarray(leaf)[None], entry) for key, entry in found.items()})


def mapped(source: Any, function: Function, *, seed: int = 0, threads: int = 0, workers: int = 0) -> Mapped:
  """A source whose examples pass through a function, for augmentation and decoding in numpy.

  The generator depends on the seed, the epoch and the number of the example alone, so neither threads nor processes nor
  a resumed run change a result. Evaluation sees the first epoch. Code in JAX is faster as `transform=` of `fit`.

  Args:
    source: A source, or whatever `as_source` takes.
    function: `function(example, rng) -> example`, dictionaries of arrays or numbers without a batch axis, and a
      `np.random.Generator`; all examples come out with the same keys, shapes and dtypes.
    seed: Of the generators.
    threads: Grain's threads that read batches ahead (in each process): for functions that wait, or that let other
      threads work as numpy does on large arrays.
    workers: Grain's processes that do: for functions in Python. They are started anew, so a script needs
      `if __name__ == "__main__":`.

  Returns:
    The source.

  Raises:
    UserError: No source; a negative number; or the function returns no dictionary or changes shapes between examples.

  >>> flipped = mapped({"x": np.arange(6).reshape(2, 3)}, lambda example, rng: {"x": example["x"][::-1]})
  >>> flipped.rows(np.array([1]))["x"]
  array([[5, 4, 3]])
  """
  for name, value in {"seed": seed, "threads": threads, "workers": workers}.items():
    if value < 0:
      raise UserError(f"{name} of mapped is {value}, expected at least 0.")
  return Mapped(as_source(source), function, seed, Reading(threads, workers))
