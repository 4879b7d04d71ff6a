"""`collected`, metrics of the whole data set at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl_jax._core.errors import UserError
from mtl_jax.tasks.metrics.metric import Metric, concatenated


def collected(
  compute: Callable[[Any, Any, np.ndarray], Any],
  *,
  score: Callable[[Any], Any] = lambda prediction: prediction,
  higher_is_better: bool = True,
) -> Metric:
  r"""A metric that an ordinary function of numpy arrays computes from the whole data set, on the host.

  $$ compute((s_i), (y_i), (w_i)), \qquad s_i = score(\hat y_i), \quad i = 1, ..., N \text{ with } w_i > 0 $$

  It suits what is no mean over examples and has no small state: mean average precision of detections, F1 of spans,
  BLEU. Time and memory are linear in the size of the data set: the scores, labels and weights of each batch are moved
  to the host once, and concatenated once after the last batch. With several processes each has the whole data set, and
  so the same result.

  Args:
    compute: `compute(scores, labels, weights) -> number`, called once per evaluation with the examples that count, in
      the order of the data set: scores and labels are arrays (N, ...) or trees of them, weights float32 (N,), all
      above 0. Where the task weighs entries, (N, ...), examples without any that counts are left out, and single
      entries may have weight 0.
    score: `score(prediction)`, an array (B, ...) or a tree of them: what `compute` needs of a prediction, such as the
      class and not all logits. It runs on the devices, so only its result is moved.
    higher_is_better: The direction.

  Returns:
    The metric. It is NaN where no example counts, without a call of `compute`. Its label is what `Task.label` reads:
    give the task one, else the whole batch is collected, inputs and all.

  Raises:
    UserError: When it is evaluated: an array does not hold one entry per example, or `compute` returns no number.

  >>> def median_error(scores, labels, weights):
  ...   return np.median(np.abs(scores - labels))
  >>> metric = collected(median_error, higher_is_better=False)
  >>> state = metric.update(jnp.array([1.0, 2.0, 9.0]), jnp.array([1.0, 3.0, 0.0]), jnp.array([1, 1, 0]))
  >>> metric.compute(state)  # the last example does not count
  0.5
  """

  def update(prediction, label, mask):
    weights, values = jnp.asarray(mask).astype(jnp.float32), (score(prediction), label)
    for path, leaf in jax.tree_util.tree_leaves_with_path(values):
      if jnp.shape(leaf)[:1] != weights.shape[:1]:
        what = ("scores", "labels")[path[0].idx] + jax.tree_util.keystr(path[1:])
        raise UserError(
          f"a collected metric has {what} of shape {jnp.shape(leaf)}, expected one entry for each of the "
          f"{weights.shape[0]} examples of a batch."
        )
    return *values, weights

  def of_all(state):
    state = jax.tree.map(np.asarray, state)
    weights = state[-1]
    counts = np.any(weights > 0, axis=tuple(range(1, weights.ndim)))
    if not counts.any():
      return np.nan
    value = compute(*jax.tree.map(lambda leaf: leaf[counts], state))
    try:
      return float(value)
    except (TypeError, ValueError) as error:
      raise UserError(f"the function of a collected metric returned {value!r}, expected a number.") from error

  return Metric(update, of_all, concatenated, higher_is_better)
