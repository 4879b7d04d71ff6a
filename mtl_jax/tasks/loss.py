"""A task's loss over a batch, whatever missing labels hold."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax._core import devices
from mtl_jax._core.axes import behind
from mtl_jax._core.errors import UserError
from mtl_jax.tasks._task import Task


def masked_mean(name: str, task: Task, prediction: Any, batch: Any) -> jax.Array:
  """The weighted mean of the loss over the labelled examples of all devices, this device's share; 0 without any."""
  weights = None if task.mask is None else jnp.asarray(task.mask(batch)).astype(jnp.float32)
  losses = jnp.asarray(task.loss(prediction if weights is None else _stop_unlabelled(prediction, weights), batch))
  check_shapes(name, losses, weights)
  if weights is None:
    return jnp.mean(losses, dtype=jnp.float32) / devices.count()
  total = jnp.sum(jnp.where(weights > 0, losses, 0.0) * weights, dtype=jnp.float32)
  count = devices.total(jnp.sum(weights))
  return jnp.where(count > 0, total / jnp.where(count > 0, count, 1.0), 0.0)


def guarded_mean(name: str, task: Task, prediction: Any, batch: Any) -> jax.Array:
  """`masked_mean`, whose gradient is zero, and not NaN, where the value is not finite."""
  fine = jnp.isfinite(masked_mean(name, task, jax.lax.stop_gradient(prediction), batch))
  guarded = jax.tree.map(lambda leaf: jnp.where(fine, leaf, jax.lax.stop_gradient(leaf)), prediction)
  return masked_mean(name, task, guarded, batch)


def check_shapes(name: str, losses: Any, weights: Any) -> None:
  """Refuses losses of a task that are neither (B,) nor shaped like its weights, and weights that fit no losses.

  Broadcasting (B,) against (B, 1) would give (B, B) losses, whose mean looks like one.
  """
  if weights is not None and weights.ndim and weights.shape == losses.shape:
    return
  if losses.ndim != 1:
    raise UserError(
      f"task {name!r}: its loss has shape {losses.shape}, expected one value per example, (B,): sum or average over "
      "the other axes, or give mask= weights of that very shape."
    )
  if weights is not None:
    raise UserError(
      f"task {name!r}: its mask has shape {weights.shape}, expected {losses.shape}, one weight per example, as many as "
      "its loss has values."
    )


def _stop_unlabelled(prediction: Any, weights: jax.Array) -> Any:
  """`prediction` without the gradient where all weights are 0, since a loss of NaN labels has NaN derivatives there."""
  per_example = weights if weights.ndim < 2 else jnp.max(weights, axis=tuple(range(1, weights.ndim)))

  def stop(leaf):
    for own in (weights, per_example):
      if own.ndim and leaf.shape[: own.ndim] == own.shape:
        return jnp.where(behind(own, leaf.ndim) > 0, leaf, jax.lax.stop_gradient(leaf))
    return leaf

  return jax.tree.map(stop, prediction)
