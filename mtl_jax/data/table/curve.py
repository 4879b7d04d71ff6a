"""Curves of numbers: what the network makes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

KNOTS = 100
REACH = 8.0
"""How many standard deviations from the mean a straight line ends."""
Scaling = Literal["quantile", "standard"]
"""How numbers are scaled: so that they are normally distributed, or to mean 0 and standard deviation 1."""


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


def to_standard(values: np.ndarray) -> Curve:
  r"""The straight line that gives the values mean 0 and standard deviation 1; beyond 8 of these it is constant.

  $$ x \mapsto \min(\max((x - \mu) / \sigma, -8), 8) $$

  Args:
    values: The numbers, (N,), finite, at least two distinct.

  Returns:
    The curve.

  >>> to_standard(np.array([0.0, 2.0])).knots
  (-7.0, 9.0)
  """
  mean, std = float(np.mean(values)), float(np.std(values))
  return Curve((mean - REACH * std, mean + REACH * std), (-REACH, REACH))


SCALINGS: Mapping[str, Callable[[np.ndarray], Curve]] = {"quantile": to_normal, "standard": to_standard}
"""The curve of each scaling."""
