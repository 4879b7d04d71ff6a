"""Curves of numbers: what the network makes of them."""

from __future__ import annotations

import dataclasses

import numpy as np

KNOTS = 100


@dataclasses.dataclass(frozen=True)
class Curve:
  """A piecewise linear function of a number, constant beyond its ends: what the network makes of it.

  Attributes:
    knots: Where it bends, ascending.
    heights: Its values there.
  """

  knots: tuple[float, ...]
  heights: tuple[float, ...]


def to_normal(values: np.ndarray) -> Curve:
  r"""The curve that makes the values normally distributed.

  $$ x \mapsto \Phi^{-1}(P(v < x) + P(v = x) / 2) $$

  At the values themselves it is exact where they are few, else linear between a hundred of them.

  Args:
    values: The numbers, (N,), finite, at least two distinct.

  Returns:
    The curve.

  >>> to_normal(np.array([0.0, 0.0, 1.0, 5.0])).knots
  (0.0, 1.0, 5.0)
  """
  from scipy.special import ndtri

  found, counts = np.unique(values, return_counts=True)
  below = (np.cumsum(counts) - counts / 2) / len(values)
  if len(found) > KNOTS:
    kept = np.unique(np.searchsorted(below, np.linspace(below[0], below[-1], KNOTS)))
    found, below = found[kept], below[kept]
  return Curve(tuple(found.tolist()), tuple(ndtri(below).tolist()))
