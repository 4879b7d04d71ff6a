"""The median of a value, from how often values fall between close bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.tasks.metrics._arrays import as_weights
from mtl_jax.tasks.metrics.metric import Metric


def median(
  value: Callable[[Any, Any], Any], *, most: float, bins: int = 1800, higher_is_better: bool = False
) -> Metric:
  r"""The weighted median of a value per example or per entry, to within $most / bins$.

  The state counts values in bins of one width, so it stays small however many values there are. Within the bin of the
  median they are taken to be spread evenly.

  Args:
    value: `value(prediction, label) -> (B,)`, or (B, ...), one per weight, in [0, most].
    most: The greatest value there is; what is above counts as this.
    bins: Their number.
    higher_is_better: The direction.

  Returns:
    The metric, NaN where no example counts.

  Raises:
    UserError: `most` or `bins` is not above 0, or, when it is evaluated, there is not a value for each weight.

  >>> metric = median(lambda prediction, label: jnp.abs(prediction - label), most=10.0, bins=1000)
  >>> state = metric.update(jnp.array([1.0, 4.0, 3.0]), jnp.zeros(3), jnp.ones(3))
  >>> round(float(metric.compute(state)), 1)
  3.0
  """
  if not (most > 0 and bins > 0):
    raise UserError(f"median: most is {most} and bins {bins}, expected both above 0.")

  def update(prediction, label, mask):
    weight, values = as_weights(mask), jnp.asarray(value(prediction, label))
    if values.shape != weight.shape:
      raise UserError(
        f"a median has values of shape {values.shape}, but weights of shape {weight.shape}: it needs one for each."
      )
    wrong = jnp.sum(jnp.where(jnp.isnan(values) & (weight > 0), 1.0, 0.0))
    place = jnp.clip(jnp.where(weight > 0, values, 0.0) * (bins / most), 0, bins - 1).astype(jnp.int32)
    return jnp.zeros(bins).at[place.ravel()].add(weight.ravel()), wrong

  def compute(state):
    counts, wrong = (np.asarray(leaf, np.float64) for leaf in state)
    below = np.cumsum(counts)
    if wrong or not below[-1] > 0:
      return np.nan
    place = int(np.searchsorted(below, below[-1] / 2))
    share = (below[-1] / 2 - (below[place] - counts[place])) / counts[place]
    return (place + share) * most / bins

  return Metric(update, compute, higher_is_better=higher_is_better)
