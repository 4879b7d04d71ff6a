"""`Metric`, a measure of quality as states of batches, and the ways in which such states become one."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mtl_jax.tasks._labels import read

State = Any


def summed(states: Sequence[State]) -> State:
  """The sum of the states, leaf by leaf.

  >>> summed([{"count": 2}, {"count": 3}])
  {'count': 5}
  """
  return jax.tree.map(lambda *leaves: functools.reduce(operator.add, leaves), *states)


def concatenated(states: Sequence[State]) -> State:
  """The arrays of the states one after the other, leaf by leaf; each is copied once.

  >>> concatenated([(np.ones(1),), (np.zeros(2),)])[0].tolist()
  [1.0, 0.0, 0.0]
  """
  return jax.tree.map(lambda *leaves: np.concatenate(leaves), *states)


class Metric(NamedTuple):
  r"""A measure of a data set by the states of its batches, whose result does not depend on the cut.

  $$ metric = compute(merge([update(\hat y_1, y_1, w_1), ..., update(\hat y_n, y_n, w_n)])) $$

  Evaluation jits `update`, which may not call back to the host. Where the state of two batches has the shapes of one
  and `merge` can be traced, states are merged on the devices, two at a time; else they are moved to the host, where
  `merge` is called once, after the last batch, as `compute` is. Several processes each have all states.

  Attributes:
    update: `update(prediction, label, mask) -> state` of one batch, pure and jitted: the task's prediction, (B, ...) or
      a tree; what `Task.label` reads of the batch; and the float32 weights of the examples, (B,), or of the entries of
      their labels, (B, ...), which are those of `Task.mask` with 0 for padding. Behind these it gets the entries of
      the batch that `beside` names.
    compute: `compute(state) -> scalar`; NaN when no example counted.
    merge: `merge(states) -> state`, the state of several batches from the list of theirs, at least one, in the order of
      the data set; by default their sum.
    higher_is_better: The direction.
    beside: The keys of what `update` reads of the batch beside the label, such as the groups of `group_auc`.
  """

  update: Callable[..., State]
  compute: Callable[[State], Any]
  merge: Callable[[Sequence[State]], State] = summed
  higher_is_better: bool = True
  beside: tuple[str, ...] = ()

  def of_batch(self, prediction: Any, label: Any, mask: Any, batch: Mapping[str, Any]) -> State:
    """The state of a batch, by `update` with what it reads beside the label.

    Args:
      prediction: As in `update`.
      label: As in `update`.
      mask: As in `update`.
      batch: The batch.

    Returns:
      The state.

    Raises:
      UserError: The batch has no such entry.
    """
    return self.update(prediction, label, mask, *(read(batch, key, "entry") for key in self.beside))
