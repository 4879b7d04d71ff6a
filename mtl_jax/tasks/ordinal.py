"""Ordinal labels: one of several levels in order, such as grades."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mtl_jax._core.errors import UserError
from mtl_jax._core.held import first_example
from mtl_jax.tasks import _labels, _weights
from mtl_jax.tasks import metrics as _metrics
from mtl_jax.tasks._task import Task


def ordinal(label: str, num_levels: int, *, mask: str | None = None, weight: str | None = None) -> Task:
  r"""One of `num_levels` levels in order, by the cross entropies of "is it above level k?".

  $$ \ell = -\sum_{k=0}^{L-2} [y > k] \log \sigma(\eta_k) + [y \le k] \log \sigma(-\eta_k), \qquad
     \eta_0 = \hat y_0, \quad \eta_k = \eta_{k-1} - softplus(\hat y_k) $$

  The task's loss is $\sum_b w_b \ell_b / \sum_b w_b$ over the batch, with w the product of mask and weight.

  Args:
    label: The key of the labels in the batch, (B,) integers in [0, num_levels).
    num_levels: The number L of levels, at least 2; predictions are $\hat y$ (B, L - 1).
    mask: The key of the labels' mask, (B,) in [0, 1]; None: all are labelled. Masked labels may hold any value.
    weight: The key of any weights of the examples, (B,) at least 0; None: ones. Loss and metrics alike use them.

  Returns:
    The task, with the metrics mae (main), in levels, and accuracy. Outputs are `level` (B,), the number of k with
    $\eta_k > 0$, and `probability` (B, L), those of the levels.

  Raises:
    UserError: `num_levels` is below 2.

  >>> ordinal("grade", 3).output(jnp.array([[2.0, 0.5]]))["level"].tolist()
  [2]

  References:
    Cao, Mirjalili and Raschka, *Rank Consistent Ordinal Regression for Neural Networks*, 2020. Deviation: there the
    $\eta_k$ are one number per example plus a bias for each k; here they fall by learned amounts, so that any head will
    do, and the order holds by construction.
  """
  if num_levels < 2:
    raise UserError(f"ordinal of {label!r}: num_levels is {num_levels}, expected at least 2.")
  label_of = functools.partial(_labels.read, key=label, kind="label")
  weights_of = _weights.weights_of(label, mask, weight)

  def logits(prediction: Any) -> jax.Array:
    z = jnp.asarray(prediction).astype(jnp.float32)
    return jnp.cumsum(jnp.concatenate([z[:, :1], -jax.nn.softplus(z[:, 1:])], axis=1), axis=1)

  def loss(prediction, batch):
    y = label_of(batch)
    if y.ndim != 1 or prediction.shape != (*y.shape, num_levels - 1):
      raise UserError(
        f"label {label!r} has shape {y.shape} and its prediction {prediction.shape}, expected (B,) and "
        f"(B, {num_levels - 1}): the head's width is num_levels - 1."
      )
    y = _weights.where_labelled(y, weights_of and weights_of(batch))
    above = (y[:, None] > jnp.arange(num_levels - 1)[None]).astype(jnp.float32)
    return jnp.sum(optax.sigmoid_binary_cross_entropy(logits(prediction), above), axis=1)

  def level(prediction):
    return jnp.sum(logits(prediction) > 0, axis=1, dtype=jnp.int32)

  def output(prediction):
    above = jax.nn.sigmoid(logits(prediction))
    return {"level": level(prediction), "probability": -jnp.diff(above, axis=1, prepend=1.0, append=0.0)}

  def check(name, arrays):
    y, counted = _labels.labels_of(name, arrays, label, mask, weight)
    _labels.check_integers(name, label, y)
    wrong = counted & ((y < 0) | (y >= num_levels))
    if wrong.any():
      raise UserError(
        f"task {name!r}: label {label!r} holds level {y[wrong][0]} in example {first_example(wrong)}, expected "
        f"[0, {num_levels - 1}]."
      )

  return Task(
    loss=loss,
    mask=weights_of,
    metrics={
      "mae": _metrics.mean_absolute_error(lambda prediction: level(prediction).astype(jnp.float32)),
      "accuracy": _metrics.accuracy(level),
    },
    label=label_of,
    output=output,
    check=check,
    checked=(label,),
  )
