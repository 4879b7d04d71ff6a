"""The order in which training sees examples: an endless stream of epochs, each a permutation of its own."""

from __future__ import annotations

from typing import Any

import numpy as np


class Order:
  """`order(start, stop)`: the numbers at these places of the stream; example n in epoch e has number `n + e size`.

  Args:
    size: The examples of an epoch.
    seed: A number, or several; each epoch's permutation depends on it and on the epoch alone. None: the order of the
      examples.

  >>> Order(3, None)(2, 7).tolist()
  [2, 3, 4, 5, 6]
  """

  def __init__(self, size: int, seed: int | tuple[int, ...] | None):
    """Draws nothing yet."""
    self._size, self._seed = size, seed
    self._epochs: dict[int, np.ndarray] = {}  # the last two: a batch may span an end

  def __call__(self, start: int, stop: int) -> np.ndarray:
    """The numbers from place `start` up to `stop`."""
    size, seed = self._size, self._seed
    if seed is None:
      return np.arange(start, stop)
    epochs = range(start // size, -(-stop // size))
    return np.concatenate([self._epoch(seed, e)[max(start - e * size, 0) : stop - e * size] for e in epochs])

  def _epoch(self, seed: int | tuple[int, ...], number: int) -> np.ndarray:
    known = self._epochs
    if number not in known:  # another thread may do the same, to the same end
      rng = np.random.default_rng([*(seed if isinstance(seed, tuple) else (seed,)), number])
      found = rng.permutation(self._size) + number * self._size
      self._epochs = known = {**dict(list(known.items())[-1:]), number: found}
    return known[number]

  def __reduce__(self) -> Any:
    """Without the permutations, which others draw for themselves."""
    return Order, (self._size, self._seed)
