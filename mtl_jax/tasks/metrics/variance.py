"""The share of a label's variance that is explained."""

from __future__ import annotations

import functools

import jax.numpy as jnp

from mtl_jax.tasks.metrics._arrays import as_array, as_weights, columns, ratio
from mtl_jax.tasks.metrics.metric import Metric


def r2() -> Metric:
  r"""The coefficient of determination, averaged over outputs.

  $$ R^2 = 1 - \sum_i w_i (y_i - \hat y_i)^2 \big/ \sum_i w_i (y_i - \bar y)^2 $$

  The state holds the labels' mean as a sum of two floats and the centred sum of squares, merged by Chan's formula: no
  cancellation for labels far from zero. NaN for constant labels; outputs of no weight are left out.
  """

  def update(prediction, label, mask):
    weight, label = columns(as_weights(mask)), columns(as_array(label)).astype(jnp.float32)
    prediction = jnp.reshape(prediction, label.shape).astype(jnp.float32)
    label, prediction = (jnp.where(weight > 0, a, 0.0) for a in (label, prediction))
    count = jnp.sum(weight, axis=0)  # (1,), or of each output

    def average(a):
      return ratio(jnp.sum(weight * a, axis=0, keepdims=True), count[None], 0.0)

    centre = average(label)
    rest = average(label - centre)
    spread = jnp.sum(weight * jnp.square(label - centre - rest), axis=0)
    return count, (centre[0], rest[0]), spread, jnp.sum(weight * jnp.square(label - prediction), axis=0)

  def add(a, b):
    (count_a, (centre_a, rest_a), spread_a, residual_a), (count_b, (centre_b, rest_b), spread_b, residual_b) = a, b
    step = jnp.where(count_a > 0, (centre_b - centre_a) + (rest_b - rest_a), 0.0)
    start, rest = jnp.where(count_a > 0, centre_a, centre_b), jnp.where(count_a > 0, rest_a, rest_b)
    share = ratio(count_b, count_a + count_b, 0.0)
    move = rest + step * share
    centre = start + move
    spread = spread_a + spread_b + jnp.square(step) * count_a * share
    return count_a + count_b, (centre, move - (centre - start)), spread, residual_a + residual_b

  def compute(state):
    count, (centre, _), spread, residual = state
    # Of constant labels only rounding is left, about eps ** 2 of their square per example.
    eps = float(jnp.finfo(jnp.float32).eps)
    varies = spread > eps**3 * jnp.square(centre)
    values = jnp.where(varies, 1.0 - ratio(residual, spread, 0.0), jnp.nan)
    counts = jnp.broadcast_to(count > 0, values.shape)
    return jnp.mean(values, where=counts)

  return Metric(update, compute, lambda states: functools.reduce(add, states))
